/* multipart.h - follow a multipart/form-data body as it arrives, keeping nothing of it.
 *
 * Strict, because others read the same bytes: whatever two parsers could read in two ways is refused (a delimiter that is
 * followed by anything but a line end or "--", bare CR or LF in a header, folded lines, a part without exactly one
 * Content-Disposition of form-data with exactly one plain name, a transfer encoding, bytes before the first delimiter or
 * behind the last). The bytes of values are not looked at but for the delimiter.
 *
 * Parts are told by where they stand: offsets count the body's bytes from 0. It keeps the header of the part that is being
 * read and nothing else. One scanner per body; loop thread only. */
#ifndef MG_HTTP_MULTIPART_H
#define MG_HTTP_MULTIPART_H

#include "base/buf.h"

enum { MG_MULTIPART_BOUNDARY = 70 };   /* bytes, RFC 2046 §5.1.1 */

/* What one form may have; the defaults are rows of base/limits.h. */
struct mg_multipart_limits {
    size_t parts;
    size_t header_bytes;               /* of one part, line ends included */
    size_t name_bytes;
};
extern const struct mg_multipart_limits mg_multipart_limits_default;

struct mg_multipart_part {
    mg_view name;                      /* as it stands between the quotes; borrowed until the callback returns */
    bool file;                         /* it has a file name */
    uint64_t start;                    /* of its delimiter, "--boundary" */
    uint64_t value;                    /* first byte of its value */
    uint64_t end;                      /* behind the last byte of its value: the line end before the next delimiter */
};

struct mg_multipart_ops {
    /* Its header is complete and its value begins; `end` is 0. An error is final and handed back. NULL: nobody listens. */
    mg_err (*on_part)(void *arg, const struct mg_multipart_part *part);
    /* Its value has ended. `name` is empty here. */
    mg_err (*on_end)(void *arg, const struct mg_multipart_part *part);
};

struct mg_multipart {                  /* caller-owned; fields belong to multipart.c */
    const struct mg_multipart_limits *limits;      /* borrowed */
    const struct mg_multipart_ops *ops;            /* borrowed */
    void *arg;
    char delimiter[MG_MULTIPART_BOUNDARY + 4];     /* "\r\n--boundary" */
    size_t delimiter_len;
    size_t matched;                    /* bytes of the delimiter seen so far */
    bool disposed;                     /* this part's Content-Disposition was read */
    enum {
        MG_MULTIPART_FIRST,            /* the first delimiter, which no line end stands before */
        MG_MULTIPART_AFTER,            /* behind a delimiter: a line end or "--" */
        MG_MULTIPART_HEADER,           /* the header of a part */
        MG_MULTIPART_VALUE,
        MG_MULTIPART_CLOSED            /* behind the last delimiter: at most one line end */
    } state;
    char tail[2];                      /* of AFTER and CLOSED: what came so far */
    size_t tail_len;
    struct mg_buf header;              /* owned; of the part that is read */
    struct mg_multipart_part part;
    size_t parts;                      /* begun so far */
    uint64_t at;                       /* bytes fed */
    const char *reason;
    mg_err failed;
};

/* The boundary that a content type names; empty: it is no multipart/form-data with one. Borrowed from the text. */
mg_view mg_multipart_boundary(mg_view content_type);

/* boundary is what mg_multipart_boundary() found. limits, ops are borrowed. */
void mg_multipart_init(struct mg_multipart *multipart, mg_view boundary, const struct mg_multipart_limits *limits,
                       const struct mg_multipart_ops *ops, void *arg);
void mg_multipart_fini(struct mg_multipart *multipart);

/* MG_E_BAD_REQUEST and MG_E_TOO_LARGE, both with a reason, or what a callback returned. An error is final. */
MG_MUST_USE mg_err mg_multipart_feed(struct mg_multipart *multipart, mg_view bytes);

/* The last delimiter was seen. A body that ends before it was cut off. */
bool mg_multipart_complete(const struct mg_multipart *multipart);

/* A sentence about the last error; static; "" when there was none. */
const char *mg_multipart_reason(const struct mg_multipart *multipart);

#endif
