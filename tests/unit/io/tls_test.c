#include "io/tls.h"

#include <mbedtls/x509_crt.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>

#include "io/dial.h"
#include "io/tls_parts.h"
#include "world.h"

static struct end client, server;
static char dir[] = "/tmp/mg-tls-XXXXXX";
static char cert_file[64], key_file[64], other_cert[64], other_key[64], expired_cert[64],
    expired_key[64];

/* One key and certificate for all tests: making them is most of the time they would take. */
__attribute__((constructor)) static void make_files(void)
{
    if (!mkdtemp(dir))
        abort();
    snprintf(cert_file, sizeof(cert_file), "%s/cert.pem", dir);
    snprintf(key_file, sizeof(key_file), "%s/key.pem", dir);
    snprintf(other_cert, sizeof(other_cert), "%s/other-cert.pem", dir);
    snprintf(other_key, sizeof(other_key), "%s/other-key.pem", dir);
    snprintf(expired_cert, sizeof(expired_cert), "%s/expired-cert.pem", dir);
    snprintf(expired_key, sizeof(expired_key), "%s/expired-key.pem", dir);
    if (mg_tls_self_signed("server.example", cert_file, key_file, NULL) != MG_OK ||
        mg_tls_self_signed("other.example", other_cert, other_key, NULL) != MG_OK ||
        mg_tls_self_signed("server.example", expired_cert, expired_key, NULL) != MG_OK)
        abort();
}

__attribute__((destructor)) static void remove_files(void)
{
    const char *const files[] = {cert_file, key_file,     other_cert,
                                 other_key, expired_cert, expired_key};
    for (size_t i = 0; i < MG_COUNT(files); i++)
        unlink(files[i]);
    rmdir(dir);
    mg_tls_cache_clear();
}

static struct mg_tls_context *serve(struct mg_tls_server_options options)
{
    struct mg_diag diag = {0};
    struct mg_tls_context *context = NULL;
    if (!options.cert_file) {
        options.cert_file = cert_file;
        options.key_file = key_file;
    }
    if (mg_tls_server_new(&options, &context, &diag) != MG_OK)
        check_failed(__FILE__, __LINE__, "%s: %s", diag.file, diag.text);
    return context;
}

static struct mg_tls_context *trust(struct mg_tls_client_options options)
{
    struct mg_diag diag = {0};
    struct mg_tls_context *context = NULL;
    if (!options.ca_file)
        options.ca_file = cert_file;
    if (mg_tls_client_new(&options, &context, &diag) != MG_OK)
        check_failed(__FILE__, __LINE__, "%s: %s", diag.file, diag.text);
    return context;
}

/* Both ends, the client's handshake started. */
static void shake(struct mg_tls_context *tls, const char *name)
{
    world_pair(&client, &server);
    mg_stream_secure(client.stream, tls, name, MG_VIEW("key"));
}

static void shaken(struct mg_tls_context *tls)
{
    shake(tls, "server.example");
    UNTIL(client.secured && server.secured);
}

static void hang_up(void)
{
    end_fini(&client);
    end_fini(&server);
}

static void finish(struct mg_tls_context *tls)
{
    hang_up();
    mg_tls_unref(tls);
    world_end();
    mg_tls_cache_clear();
}

static void talk(void)
{
    mg_buf_clear(&client.got);
    server.echo = true;
    CHECK_OK(end_write(&client, "ping over TLS"));
    UNTIL(client.got.len == 13);
    CHECK_VIEW(mg_buf_view(&client.got), MG_VIEW("ping over TLS"));
}

TEST(both_versions_shake_hands_and_carry_bytes)
{
    static const struct {
        enum mg_tls_version only;
        const char *name;
    } rows[] = {{MG_TLS_ANY, "TLSv1.3"}, {MG_TLS_1_2, "TLSv1.2"}, {MG_TLS_1_3, "TLSv1.3"}};
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        world_begin();
        server_tls = serve((struct mg_tls_server_options){.only = rows[i].only});
        struct mg_tls_context *tls = trust((struct mg_tls_client_options){0});

        shaken(tls);
        CHECK_STR(mg_stream_tls_version(client.stream), rows[i].name);
        CHECK_STR(mg_stream_tls_version(server.stream), rows[i].name);
        CHECK(mg_stream_is_tls(client.stream));
        talk();

        CHECK_INT(client.opened, 1);
        finish(tls);
    }
}

TEST(versions_that_do_not_meet_are_refused)
{
    world_begin();
    server_tls = serve((struct mg_tls_server_options){.only = MG_TLS_1_3});
    struct mg_tls_context *tls = trust((struct mg_tls_client_options){.only = MG_TLS_1_2});

    shake(tls, "server.example");
    UNTIL(client.closed && server.closed);

    CHECK_INT(client.why, MG_E_TLS);
    CHECK_STR(client.reason, "peer refused: no TLS version in common");
    CHECK_STR(server.reason, "no TLS version in common");
    finish(tls);
}

TEST(certificates_that_prove_nothing_are_refused)
{
    const struct {
        const char *cert, *key, *ca, *name, *reason;
    } rows[] = {
        {cert_file, key_file, other_cert, "server.example", "certificate of an unknown CA"},
        {cert_file, key_file, cert_file, "wrong.example", "certificate is for another name"},
        {other_cert, other_key, other_cert, "server.example", "certificate is for another name"},
        {cert_file, key_file, cert_file, "127.0.0.1", "certificate is for another name"},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        for (int only = MG_TLS_1_2; only <= MG_TLS_1_3; only++) {
            world_begin();
            server_tls = serve((struct mg_tls_server_options){.cert_file = rows[i].cert,
                                                              .key_file = rows[i].key,
                                                              .only = (enum mg_tls_version)only});
            struct mg_tls_context *tls =
                trust((struct mg_tls_client_options){.ca_file = rows[i].ca});

            shake(tls, rows[i].name);
            UNTIL(client.closed && server.closed);

            CHECK_INT(client.secured, 0);
            CHECK_INT(client.why, MG_E_TLS);
            CHECK_STR(client.reason, rows[i].reason);
            finish(tls);
        }
    }
}

static void write_expired(void)
{
    unsigned char pem[4096] = {0};
    mbedtls_pk_context key;
    mbedtls_x509write_cert cert;
    mbedtls_pk_init(&key);
    mbedtls_x509write_crt_init(&cert);
    CHECK_INT(mbedtls_pk_parse_keyfile(&key, expired_key, NULL, mg_tls_random, NULL), 0);
    mbedtls_x509write_crt_set_version(&cert, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(&cert, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(&cert, &key);
    mbedtls_x509write_crt_set_issuer_key(&cert, &key);
    CHECK_INT(mbedtls_x509write_crt_set_serial_raw(&cert, (unsigned char[]){1}, 1), 0);
    CHECK_INT(mbedtls_x509write_crt_set_subject_name(&cert, "CN=server.example"), 0);
    CHECK_INT(mbedtls_x509write_crt_set_issuer_name(&cert, "CN=server.example"), 0);
    CHECK_INT(mbedtls_x509write_crt_set_validity(&cert, "20200101000000", "20210101000000"), 0);
    CHECK_INT(mbedtls_x509write_crt_set_basic_constraints(&cert, 1, 0), 0);
    CHECK_INT(mbedtls_x509write_crt_pem(&cert, pem, sizeof(pem), mg_tls_random, NULL), 0);
    CHECK_OK(mg_tls_write_file(expired_cert, 0644, mg_view_cstr((char *)pem), NULL));
    mbedtls_x509write_crt_free(&cert);
    mbedtls_pk_free(&key);
}

TEST(an_expired_certificate_is_refused)
{
    write_expired();
    world_begin();
    server_tls =
        serve((struct mg_tls_server_options){.cert_file = expired_cert, .key_file = expired_key});
    struct mg_tls_context *tls = trust((struct mg_tls_client_options){.ca_file = expired_cert});
    CHECK_INT(mg_tls_expires_s(server_tls), 1609459200);

    shake(tls, "server.example");
    UNTIL(client.closed && server.closed);

    CHECK_INT(client.why, MG_E_TLS);
    CHECK_STR(client.reason, "certificate expired");
    finish(tls);
}

TEST(insecure_must_be_asked_for_and_accepts_anything)
{
    world_begin();
    server_tls = serve((struct mg_tls_server_options){0});
    struct mg_tls_context *tls = trust((struct mg_tls_client_options){.insecure = true});

    shake(tls, "whatever.example");
    UNTIL(client.secured && server.secured);
    talk();

    finish(tls);
}

TEST(addresses_in_certificates_are_verified)
{
    char cert[80], key[80];
    snprintf(cert, sizeof(cert), "%s/ip-cert.pem", dir);
    snprintf(key, sizeof(key), "%s/ip-key.pem", dir);
    CHECK_OK(mg_tls_self_signed("127.0.0.1", cert, key, NULL));
    world_begin();
    server_tls = serve((struct mg_tls_server_options){.cert_file = cert, .key_file = key});
    struct mg_tls_context *tls = trust((struct mg_tls_client_options){.ca_file = cert});

    shake(tls, "127.0.0.1");
    UNTIL(client.secured && server.secured);

    unlink(cert);
    unlink(key);
    finish(tls);
}

TEST(a_server_that_wants_a_client_certificate_gets_one_or_refuses)
{
    const struct {
        const char *cert, *key;
        bool ok;
        const char *reason; /* of the server */
    } rows[] = {
        {other_cert, other_key, true, ""},
        {cert_file, key_file, false, "certificate of an unknown CA"},
        {NULL, NULL, false, "client showed no certificate"},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        for (int only = MG_TLS_1_2; only <= MG_TLS_1_3; only++) {
            world_begin();
            server_tls = serve((struct mg_tls_server_options){.client_ca_file = other_cert,
                                                              .only = (enum mg_tls_version)only});
            struct mg_tls_context *tls = trust(
                (struct mg_tls_client_options){.cert_file = rows[i].cert, .key_file = rows[i].key});

            shake(tls, "server.example");
            UNTIL(rows[i].ok ? client.secured && server.secured : client.closed && server.closed);

            if (rows[i].ok) {
                talk();
            } else {
                CHECK_INT(server.secured, 0);
                CHECK_INT(server.why, MG_E_TLS);
                CHECK_STR(server.reason, rows[i].reason);
                CHECK_INT(client.why, MG_E_TLS);
            }
            finish(tls);
        }
    }
}

TEST(sessions_are_resumed_on_both_sides)
{
    for (int only = MG_TLS_1_2; only <= MG_TLS_1_3; only++) {
        world_begin();
        mg_tls_cache_clear();
        server_tls = serve((struct mg_tls_server_options){.only = (enum mg_tls_version)only});
        struct mg_tls_context *tls = trust((struct mg_tls_client_options){0});

        shaken(tls);
        talk();
        CHECK(!mg_stream_resumed(client.stream));
        CHECK(!mg_stream_resumed(server.stream));
        CHECK_INT(mg_tls_cache_count(), 1);
        uint64_t full_bytes = mg_stream_bytes_in(client.stream);
        hang_up();

        shaken(tls);
        CHECK(mg_stream_resumed(client.stream));
        CHECK(mg_stream_resumed(server.stream));
        talk();
        CHECK(mg_stream_bytes_in(client.stream) < full_bytes);
        finish(tls);
    }
}

TEST(sessions_are_not_shared_between_names_keys_or_contexts)
{
    world_begin();
    mg_tls_cache_clear();
    server_tls = serve((struct mg_tls_server_options){0});
    struct mg_tls_context *tls = trust((struct mg_tls_client_options){0});
    struct mg_tls_context *twin = trust((struct mg_tls_client_options){0});
    shaken(tls);
    talk();
    hang_up();

    shaken(twin);
    CHECK(!mg_stream_resumed(client.stream));
    hang_up();
    world_pair(&client, &server);
    mg_stream_secure(client.stream, tls, "server.example", MG_VIEW("another key"));
    UNTIL(client.secured);
    CHECK(!mg_stream_resumed(client.stream));

    mg_tls_unref(twin);
    finish(tls);
}

TEST(a_resumed_session_of_a_server_that_forgot_it_is_a_full_handshake)
{
    for (int only = MG_TLS_1_2; only <= MG_TLS_1_3; only++) {
        world_begin();
        server_tls = serve((struct mg_tls_server_options){.only = (enum mg_tls_version)only});
        struct mg_tls_context *tls = trust((struct mg_tls_client_options){0});
        shaken(tls);
        talk();
        hang_up();

        mg_tls_unref(server_tls);
        server_tls = serve((struct mg_tls_server_options){.only = (enum mg_tls_version)only});
        shaken(tls);
        talk();

        CHECK(!mg_stream_resumed(client.stream));
        CHECK(!mg_stream_resumed(server.stream));
        finish(tls);
    }
}

TEST(the_session_cache_is_bounded)
{
    struct mg_buf out;
    mg_tls_cache_clear();
    for (int i = 0; i < 3 * MG_MAX_TLS_SESSIONS; i++) {
        char key[32];
        snprintf(key, sizeof(key), "key-%d", i);
        mg_tls_cache_put(mg_view_cstr(key), MG_VIEW("session"));
    }
    CHECK(mg_tls_cache_count() <= MG_MAX_TLS_SESSIONS);
    CHECK(mg_tls_cache_count() > MG_MAX_TLS_SESSIONS / 2);

    mg_buf_init(&out, 100);
    CHECK(!mg_tls_cache_get(MG_VIEW("key-0"), &out));
    mg_tls_cache_put(MG_VIEW("key-0"), MG_VIEW("fresh"));
    CHECK(mg_tls_cache_get(MG_VIEW("key-0"), &out));
    CHECK_VIEW(mg_buf_view(&out), MG_VIEW("fresh"));
    mg_tls_cache_drop(MG_VIEW("key-0"));
    CHECK(!mg_tls_cache_get(MG_VIEW("key-0"), &out));
    mg_buf_fini(&out);
    mg_tls_cache_clear();
}

static void *use_cache(void *arg)
{
    struct mg_buf out;
    mg_buf_init(&out, 100);
    for (int i = 0; i < 20000; i++) {
        char key[32];
        snprintf(key, sizeof(key), "key-%d", i * (int)(intptr_t)arg % 977);
        if (i % 3 == 0)
            mg_tls_cache_put(mg_view_cstr(key), MG_VIEW("session"));
        else if (i % 7 == 0)
            mg_tls_cache_drop(mg_view_cstr(key));
        else
            (void)mg_tls_cache_get(mg_view_cstr(key), &out);
        mg_buf_clear(&out);
    }
    mg_buf_fini(&out);
    return NULL;
}

TEST(threads_share_the_session_cache)
{
    pthread_t threads[4];
    for (intptr_t i = 0; i < 4; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, use_cache, (void *)(i + 1)), 0);
    for (size_t i = 0; i < MG_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    mg_tls_cache_clear();
}

TEST(a_clean_end_is_told_from_a_cut)
{
    for (int clean = 0; clean < 2; clean++) {
        world_begin();
        server_tls = serve((struct mg_tls_server_options){0});
        struct mg_tls_context *tls = trust((struct mg_tls_client_options){0});
        shaken(tls);

        CHECK_OK(end_write(&server, "the end"));
        if (clean)
            mg_stream_shutdown(server.stream);
        else
            mg_stream_close(server.stream);
        UNTIL(clean ? client.ended : client.closed);

        CHECK_VIEW(mg_buf_view(&client.got), MG_VIEW("the end"));
        CHECK_INT(client.ended, clean);
        CHECK_INT(client.closed, !clean);
        if (!clean) {
            CHECK_INT(client.why, MG_E_CLOSED);
            CHECK_STR(client.reason, "closed without close_notify");
        }
        finish(tls);
    }
}

TEST(a_peer_that_leaves_during_the_handshake_is_an_error)
{
    world_begin();
    server_tls = serve((struct mg_tls_server_options){0});
    world_pair(&client, &server);

    mg_stream_close(client.stream);
    UNTIL(server.closed);

    CHECK_INT(server.why, MG_E_TLS);
    CHECK_STR(server.reason, "peer closed during the handshake");
    finish(NULL);
}

TEST(a_peer_that_does_not_speak_tls_is_an_error)
{
    world_begin();
    server_tls = serve((struct mg_tls_server_options){0});
    world_pair(&client, &server);

    CHECK_OK(end_write(&client, "GET / HTTP/1.1\r\nHost: server.example\r\n\r\n"));
    UNTIL(server.closed);

    CHECK_INT(server.why, MG_E_TLS);
    CHECK_STR(server.reason, "peer does not speak TLS");
    finish(NULL);
}

TEST(nothing_can_be_written_before_the_handshake_is_done)
{
    world_begin();
    server_tls = serve((struct mg_tls_server_options){0});
    struct mg_tls_context *tls = trust((struct mg_tls_client_options){0});
    shake(tls, "server.example");

    CHECK_INT(end_write(&client, "early"), MG_E_CLOSED);
    CHECK(!mg_stream_usable(client.stream));
    UNTIL(client.secured && server.secured);
    talk();

    finish(tls);
}

TEST(reading_off_holds_back_what_is_decrypted_and_on_releases_it)
{
    enum { TOTAL = 300000 };
    static char block[TOTAL];
    mg_view part = mg_view_of(block, TOTAL);
    world_begin();
    server_tls = serve((struct mg_tls_server_options){0});
    struct mg_tls_context *tls = trust((struct mg_tls_client_options){0});
    for (int i = 0; i < TOTAL; i++)
        block[i] = (char)(i % 253);
    shaken(tls);
    mg_stream_read(server.stream, false);

    (void)!mg_stream_write(client.stream, &part, 1);
    for (int i = 0; i < 50; i++)
        mg_loop_turn(&loop, 1);
    CHECK_INT(server.got.len, 0);
    mg_stream_read(server.stream, true);
    CHECK_INT(server.got.len, 0);
    UNTIL(server.got.len == TOTAL);

    CHECK_VIEW(mg_buf_view(&server.got), part);
    finish(tls);
}

static void pause_on_data(void *arg, mg_view bytes)
{
    struct end *end = arg;
    CHECK_OK(mg_buf_put(&end->got, bytes));
    mg_stream_read(end->stream, false);
}

TEST(a_reader_that_pauses_after_every_record_gets_everything_once)
{
    enum { TOTAL = 500000 };
    static char block[TOTAL];
    static struct mg_stream_ops pausing;
    mg_view part = mg_view_of(block, TOTAL);
    size_t before = 0;
    world_begin();
    server_tls = serve((struct mg_tls_server_options){0});
    struct mg_tls_context *tls = trust((struct mg_tls_client_options){0});
    for (int i = 0; i < TOTAL; i++)
        block[i] = (char)(i % 253);
    shaken(tls);
    pausing = end_ops;
    pausing.on_data = pause_on_data;
    mg_stream_set_ops(server.stream, &pausing, &server);

    (void)!mg_stream_write(client.stream, &part, 1);
    mg_stream_shutdown(client.stream);
    while (!server.ended) {
        mg_stream_read(server.stream, true);
        UNTIL(server.got.len > before || server.ended);
        CHECK(server.got.len - before <= 16384);
        before = server.got.len;
    }

    CHECK_VIEW(mg_buf_view(&server.got), part);
    finish(tls);
}

TEST(a_slow_tls_reader_is_bounded_like_a_plain_one)
{
    static char block[60000];
    mg_view part = mg_view_of(block, sizeof(block));
    size_t written = 0;
    mg_err err;
    world_begin();
    server_tls = serve((struct mg_tls_server_options){0});
    struct mg_tls_context *tls = trust((struct mg_tls_client_options){0});
    shaken(tls);
    mg_stream_read(server.stream, false);

    while ((err = mg_stream_write(client.stream, &part, 1)) == MG_OK || err == MG_E_AGAIN)
        written += sizeof(block);
    CHECK_INT(err, MG_E_TOO_LARGE);
    CHECK(mg_stream_queued(client.stream) < 2 * MG_MAX_WRITE_QUEUE_BYTES + 70000);
    server.count_only = true;
    mg_stream_read(server.stream, true);
    UNTIL(server.counted == written && client.drained == 1);

    finish(tls);
}

TEST(a_broken_record_ends_the_stream)
{
    world_begin();
    server_tls = serve((struct mg_tls_server_options){0});
    struct mg_tls_context *tls = trust((struct mg_tls_client_options){0});
    shaken(tls);
    uv_os_fd_t fd;
    CHECK_INT(uv_fileno((uv_handle_t *)client.stream, &fd), 0);

    CHECK_INT(write(fd, "\x17\x03\x03\x00\x20garbage garbage garbage garbage", 37), 37);
    UNTIL(server.closed);

    CHECK_INT(server.why, MG_E_TLS);
    CHECK(server.reason[0]);
    finish(tls);
}

/* --- a wire that cuts the bytes of both directions anywhere --- */

struct wire {
    struct end near, far; /* near: accepted from the client; far: towards the TLS server */
    struct mg_defer work;
    unsigned seed;
    bool running;
};

static struct wire wire;

static void forward(struct end *from, struct end *to)
{
    wire.seed = wire.seed * 1103515245u + 12345u;
    size_t most = (wire.seed >> 16) % 8 == 0 ? 3000 : (wire.seed >> 20) % 60 + 1;
    mg_view piece = mg_view_head(mg_buf_view(&from->got), most);
    if (piece.len == 0 || !to->stream)
        return;
    (void)!mg_stream_write(to->stream, &piece, 1);
    mg_buf_consume(&from->got, piece.len);
}

static void on_wire(struct mg_defer *work)
{
    forward(&wire.near, &wire.far);
    forward(&wire.far, &wire.near);
    if (wire.running)
        mg_loop_defer(&loop, work, on_wire);
}

static void on_wire_fd(void *arg, int fd, const struct sockaddr *peer)
{
    struct sockaddr_in address = world_address();
    (void)arg;
    (void)peer;
    wire.near.stream = mg_stream_accept(&loop, fd, NULL, &end_ops, &wire.near);
    wire.far.stream = mg_stream_connect(&loop, (struct sockaddr *)&address, &end_ops, &wire.far);
}

TEST(thousands_of_random_cuts_change_nothing)
{
    enum { TOTAL = 40000 };
    static char block[TOTAL];
    mg_view part = mg_view_of(block, TOTAL);
    struct mg_listener cutter;
    struct mg_listen_spec spec = {.host = "127.0.0.1"};
    for (int i = 0; i < TOTAL; i++)
        block[i] = (char)(i * 7 % 251);
    for (unsigned seed = 1; seed <= 6; seed++) {
        world_begin();
        server_tls =
            serve((struct mg_tls_server_options){.only = seed % 2 ? MG_TLS_1_3 : MG_TLS_1_2});
        struct mg_tls_context *tls = trust((struct mg_tls_client_options){0});
        CHECK_OK(mg_listen_start(&cutter, &loop, &spec, on_wire_fd, NULL, NULL));
        memset(&wire, 0, sizeof(wire));
        end_init(&wire.near);
        end_init(&wire.far);
        wire.seed = seed;
        wire.running = true;
        mg_loop_defer(&loop, &wire.work, on_wire);

        struct sockaddr_in address = world_address();
        address.sin_port = htons((uint16_t)cutter.port);
        world_accept_into(&server);
        end_init(&client);
        client.stream = mg_stream_connect(&loop, (struct sockaddr *)&address, &end_ops, &client);
        UNTIL(client.opened);
        mg_stream_secure(client.stream, tls, "server.example", MG_VIEW("key"));
        UNTIL(client.secured && server.secured);
        CHECK_INT(mg_stream_resumed(client.stream), 0);
        server.echo = true;
        CHECK_OK(mg_stream_write(client.stream, &part, 1));
        UNTIL(client.got.len == TOTAL);
        CHECK_VIEW(mg_buf_view(&client.got), part);

        wire.running = false;
        hang_up();
        UNTIL(mg_list_empty(&wire.work.link));
        end_fini(&wire.near);
        end_fini(&wire.far);
        mg_listen_stop(&cutter, world_stopped);
        UNTIL(stopped);
        stopped = false;
        mg_tls_unref(tls);
        world_end();
    }
}

/* --- contexts --- */

struct crew {
    pthread_t thread;
    struct mg_tls_context *server, *client;
    int shaken;
};

static void crew_secured(void *arg)
{
    ((struct crew *)arg)->shaken++;
}

/* Both sides on a loop of this thread, with the contexts of all threads. */
static void *crew_run(void *arg)
{
    static const struct mg_stream_ops ops = {.on_secure = crew_secured};
    struct crew *crew = arg;
    struct mg_loop mine;
    mg_loop_init(&mine);
    for (int i = 0; i < 10; i++) {
        int pair[2], before = crew->shaken;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
            break;
        struct mg_stream *far = mg_stream_accept(&mine, pair[0], crew->server, &ops, crew);
        struct mg_stream *near = mg_stream_accept(&mine, pair[1], NULL, &ops, crew);
        mg_stream_secure(near, crew->client, "server.example", MG_VIEW("shared"));
        while (crew->shaken < before + 2)
            mg_loop_turn(&mine, 100);
        mg_stream_discard(near);
        mg_stream_discard(far);
    }
    mg_loop_fini(&mine);
    return NULL;
}

TEST(threads_share_contexts_and_sessions)
{
    struct crew crews[4] = {0};
    mg_tls_cache_clear();
    struct mg_tls_context *for_servers = serve((struct mg_tls_server_options){0});
    struct mg_tls_context *for_clients = trust((struct mg_tls_client_options){0});
    for (size_t i = 0; i < MG_COUNT(crews); i++) {
        crews[i].server = for_servers;
        crews[i].client = for_clients;
        CHECK_INT(pthread_create(&crews[i].thread, NULL, crew_run, &crews[i]), 0);
    }
    for (size_t i = 0; i < MG_COUNT(crews); i++) {
        pthread_join(crews[i].thread, NULL);
        CHECK_INT(crews[i].shaken, 20);
    }
    mg_tls_unref(for_servers);
    mg_tls_unref(for_clients);
    mg_tls_cache_clear();
}

TEST(files_that_do_not_serve_are_refused_with_a_sentence)
{
    const struct {
        const char *cert, *key, *client_ca, *says;
    } rows[] = {
        {"/nowhere/cert.pem", key_file, NULL, "cannot read"},
        {cert_file, "/nowhere/key.pem", NULL, "cannot read"},
        {cert_file, other_key, NULL, "not the key"},
        {key_file, key_file, NULL, "not usable"},
        {cert_file, NULL, NULL, "needs its key"},
        {cert_file, key_file, "/nowhere/ca.pem", "cannot read"},
        {cert_file, key_file, key_file, "not usable"},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct mg_tls_server_options options = {.cert_file = rows[i].cert,
                                                .key_file = rows[i].key,
                                                .client_ca_file = rows[i].client_ca};
        struct mg_tls_context *context = NULL;
        struct mg_diag diag = {0};
        CHECK_INT(mg_tls_server_new(&options, &context, &diag), MG_E_CONFIG);
        CHECK(!context);
        CHECK(diag.file[0] == '/');
        if (mg_view_search(mg_view_cstr(diag.text), mg_view_cstr(rows[i].says)) ==
            strlen(diag.text))
            check_failed(__FILE__, __LINE__, "row %zu says %s", i, diag.text);
    }
}

TEST(the_default_bundle_comes_from_the_environment)
{
    struct mg_tls_client_options options = {0};
    struct mg_tls_context *tls = NULL;
    setenv("SSL_CERT_FILE", cert_file, 1);
    world_begin();
    server_tls = serve((struct mg_tls_server_options){0});
    CHECK_OK(mg_tls_client_new(&options, &tls, NULL));
    unsetenv("SSL_CERT_FILE");

    shaken(tls);

    finish(tls);
}

TEST(a_connection_keeps_its_context_over_a_reload)
{
    world_begin();
    server_tls = serve((struct mg_tls_server_options){0});
    struct mg_tls_context *tls = trust((struct mg_tls_client_options){.ca_file = cert_file});
    shaken(tls);

    mg_tls_unref(server_tls);
    server_tls =
        serve((struct mg_tls_server_options){.cert_file = other_cert, .key_file = other_key});
    talk();

    struct end late, late_server;
    world_pair(&late, &late_server);
    mg_stream_secure(late.stream, tls, "server.example", MG_VIEW("late"));
    UNTIL(late.closed);
    CHECK_STR(late.reason, "certificate is for another name");
    end_fini(&late);
    end_fini(&late_server);
    finish(tls);
}

TEST(the_key_of_a_self_signed_certificate_is_private)
{
    struct stat file;
    CHECK_INT(stat(key_file, &file), 0);
    CHECK_INT(file.st_mode & 0777, 0600);
    CHECK_INT(stat(cert_file, &file), 0);
    CHECK_INT(file.st_mode & 0777, 0644);

    struct mg_diag diag = {0};
    CHECK_INT(mg_tls_self_signed("x", "/nowhere/cert.pem", "/nowhere/key.pem", &diag), MG_E_SYSTEM);
    CHECK(diag.text[0]);
}

TEST(a_self_signed_certificate_lasts_about_a_year)
{
    struct mg_tls_context *context = serve((struct mg_tls_server_options){0});
    uint64_t now_s = (uint64_t)time(NULL);

    CHECK(mg_tls_expires_s(context) > now_s + 360 * 86400);
    CHECK(mg_tls_expires_s(context) < now_s + 370 * 86400);

    mg_tls_unref(context);
}

/* --- through dial --- */

static int answers;
static mg_err result;

static void on_dialled(struct mg_dial *op, mg_err err)
{
    (void)op;
    answers++;
    result = err;
}

TEST(a_dial_returns_a_stream_that_has_shaken_hands)
{
    struct mg_dial op;
    static const char *const here[] = {"127.0.0.1"};
    world_begin();
    server_tls = serve((struct mg_tls_server_options){0});
    struct mg_tls_context *tls = trust((struct mg_tls_client_options){0});
    mg_resolve_override("server.example", here, 1);
    struct mg_endpoint endpoint = {
        .host = "server.example", .port = listener.port, .tls = tls, .key = "k"};
    world_accept_into(&server);
    end_init(&client);
    answers = 0;

    mg_dial_start(&op, &loop, &endpoint, 5000, on_dialled);
    UNTIL(answers && server.secured);

    CHECK_OK(result);
    CHECK(op.marks.connect_us < op.marks.tls_us);
    client.stream = op.stream;
    mg_stream_set_ops(client.stream, &end_ops, &client);
    talk();
    mg_resolve_override(NULL, NULL, 0);
    finish(tls);
}

TEST(a_dial_that_fails_its_handshake_says_why)
{
    struct mg_dial op;
    world_begin();
    server_tls = serve((struct mg_tls_server_options){0});
    struct mg_tls_context *tls = trust((struct mg_tls_client_options){0});
    struct mg_endpoint endpoint = {.host = "127.0.0.1",
                                   .port = listener.port,
                                   .tls = tls,
                                   .key = "k",
                                   .name = "wrong.example"};
    world_accept_into(&server);
    answers = 0;

    mg_dial_start(&op, &loop, &endpoint, 5000, on_dialled);
    UNTIL(answers);

    CHECK_INT(result, MG_E_TLS);
    CHECK_STR(op.reason, "certificate is for another name");
    end_fini(&server);
    mg_tls_unref(tls);
    world_end();
}

TEST(a_server_that_never_answers_the_handshake_ends_at_the_deadline)
{
    struct mg_dial op;
    world_begin();
    struct mg_tls_context *tls = trust((struct mg_tls_client_options){0});
    struct mg_endpoint endpoint = {.host = "127.0.0.1",
                                   .port = listener.port,
                                   .tls = tls,
                                   .key = "k",
                                   .name = "server.example"};
    world_accept_into(&server);
    answers = 0;

    mg_dial_start(&op, &loop, &endpoint, 100, on_dialled);
    UNTIL(answers);

    CHECK_INT(result, MG_E_TIMEOUT);
    end_fini(&server);
    mg_tls_unref(tls);
    world_end();
}

/* `server` plays the proxy: it answers CONNECT and then passes bytes on to the TLS server. */
TEST(tls_goes_through_a_proxy)
{
    struct mg_dial op;
    struct mg_listener front;
    struct mg_listen_spec spec = {.host = "127.0.0.1"};
    mg_view established = MG_VIEW("HTTP/1.1 200 Connection established\r\n\r\n");
    world_begin();
    server_tls = serve((struct mg_tls_server_options){0});
    struct mg_tls_context *tls = trust((struct mg_tls_client_options){0});
    CHECK_OK(mg_listen_start(&front, &loop, &spec, on_wire_fd, NULL, NULL));
    struct mg_proxy proxy = {.host = "127.0.0.1", .port = front.port};
    struct mg_endpoint endpoint = {
        .host = "server.example", .port = 443, .tls = tls, .key = "k", .proxy = &proxy};
    memset(&wire, 0, sizeof(wire));
    end_init(&wire.near);
    end_init(&wire.far);
    wire.seed = 7;
    wire.running = true;
    world_accept_into(&server);
    end_init(&client);
    answers = 0;

    mg_dial_start(&op, &loop, &endpoint, 5000, on_dialled);
    UNTIL(mg_view_ends(mg_buf_view(&wire.near.got), MG_VIEW("\r\n\r\n")));
    CHECK(mg_view_starts(mg_buf_view(&wire.near.got), MG_VIEW("CONNECT server.example:443 ")));
    mg_buf_clear(&wire.near.got);
    CHECK_OK(mg_stream_write(wire.near.stream, &established, 1));
    mg_loop_defer(&loop, &wire.work, on_wire);
    UNTIL(answers && server.secured);

    CHECK_OK(result);
    client.stream = op.stream;
    mg_stream_set_ops(client.stream, &end_ops, &client);
    talk();
    wire.running = false;
    hang_up();
    UNTIL(mg_list_empty(&wire.work.link));
    end_fini(&wire.near);
    end_fini(&wire.far);
    mg_listen_stop(&front, world_stopped);
    UNTIL(stopped);
    stopped = false;
    mg_tls_unref(tls);
    world_end();
    mg_tls_cache_clear();
}

static int turns;

static void count_turn(struct mg_defer *defer)
{
    turns++;
    mg_loop_defer(&loop, defer, count_turn);
}

TEST(a_hundred_handshakes_at_once_all_succeed_and_leave_turns_for_others)
{
    enum { N = 100 };
    static struct end clients[N], servers[N];
    struct mg_defer counter = {0};
    int pair[2];
    turns = 0;
    world_begin();
    mg_tls_cache_clear();
    server_tls = serve((struct mg_tls_server_options){0});
    struct mg_tls_context *tls = trust((struct mg_tls_client_options){0});
    for (int i = 0; i < N; i++) {
        CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
        end_init(&clients[i]);
        end_init(&servers[i]);
        servers[i].stream = mg_stream_accept(&loop, pair[0], server_tls, &end_ops, &servers[i]);
        clients[i].stream = mg_stream_accept(&loop, pair[1], NULL, &end_ops, &clients[i]);
        mg_stream_secure(clients[i].stream, tls, "server.example", MG_VIEW("k"));
    }

    mg_loop_defer(&loop, &counter, count_turn);
    for (int i = 0; i < N; i++)
        UNTIL(clients[i].secured && servers[i].secured);
    mg_loop_defer_cancel(&counter);

    /* Each side makes at least one expensive step and a turn has room for two. */
    CHECK(turns >= N);
    for (int i = 0; i < N; i++) {
        end_fini(&clients[i]);
        end_fini(&servers[i]);
    }
    mg_tls_unref(tls);
    world_end();
    mg_tls_cache_clear();
}

MG_TEST_MAIN()
