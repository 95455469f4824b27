/* loop_parts.h - what other files of this layer keep on a loop, for io/loop.c to end. */
#ifndef MG_IO_LOOP_PARTS_H
#define MG_IO_LOOP_PARTS_H

struct mg_loop;

/* Waits for the lookups that still run in libuv's pool. */
void mg_resolve_loop_fini(struct mg_loop *loop);

/* Frees the TLS buffers all streams of the loop share. */
void mg_stream_loop_fini(struct mg_loop *loop);

/* Overwrites the plaintext that was decrypted last. */
void mg_stream_loop_wipe(struct mg_loop *loop);

#endif
