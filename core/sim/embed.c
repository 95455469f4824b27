/* Embeddings: unit vectors that depend on the text alone. */
#include <math.h>

#include "base/hash.h"
#include "base/mem.h"
#include "http/json.h"
#include "sim/text.h"
#include "sim/wire.h"

enum { DIMENSIONS = 1536, INPUTS = 2048, INPUT_BYTES = 32 << 20 };

static mg_err put_vector(uint64_t seed, uint32_t dimensions, bool base64, struct mg_buf *out);
static mg_err put_base64(const float *numbers, size_t count, struct mg_buf *out);
static uint64_t seed_of(const struct mg_json *input);
static mg_err put_all(const struct mg_sim_request *request, const struct mg_json *input,
                      struct mg_buf *out);

mg_err mg_sim_put_embeddings(const struct mg_sim_request *request, struct mg_buf *out)
{
    struct mg_json *input = NULL;
    MG_TRY(mg_json_parse(request->input, INPUT_BYTES, &input, NULL));
    MG_TRY(mg_buf_put(out, MG_VIEW("{\"object\":\"list\",\"data\":[")));
    mg_err err = put_all(request, input, out);
    mg_json_free(input);
    MG_TRY(err);
    MG_TRY(mg_buf_put(out, MG_VIEW("],\"model\":\"")));
    MG_TRY(mg_buf_put_json(out, request->model));
    return mg_buf_putf(out, "\",\"usage\":{\"prompt_tokens\":%llu,\"total_tokens\":%llu}}",
                       (unsigned long long)request->input_tokens,
                       (unsigned long long)request->input_tokens);
}

/* A string, an array of them, an array of token numbers, or an array of such arrays. */
static mg_err put_all(const struct mg_sim_request *request, const struct mg_json *input,
                      struct mg_buf *out)
{
    const struct mg_json *first = mg_json_first(input);
    bool many = mg_json_is(first, MG_JSON_STRING) || mg_json_is(first, MG_JSON_ARRAY);
    size_t count = many ? mg_json_count(input) : 1;
    bool one = mg_json_is(input, MG_JSON_STRING) ? mg_json_string(input).len > 0
                                                 : mg_json_is(first, MG_JSON_NUMBER);
    if ((!many && !one) || count > INPUTS)
        return MG_E_BAD_REQUEST;
    const struct mg_json *each = many ? first : input;
    for (size_t i = 0; i < count; i++, each = mg_json_next(each)) {
        MG_TRY(mg_buf_putf(
            out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", i ? "," : "", i));
        MG_TRY(put_vector(seed_of(each), request->dimensions ? request->dimensions : DIMENSIONS,
                          request->base64, out));
        MG_TRY(mg_buf_putc(out, '}'));
    }
    return MG_OK;
}

static mg_err put_vector(uint64_t seed, uint32_t dimensions, bool base64, struct mg_buf *out)
{
    float *numbers = mg_new_array(float, dimensions);
    double sum = 0;
    uint64_t random = seed | 1;
    for (uint32_t i = 0; i < dimensions; i++) {
        numbers[i] = (float)((double)(mg_sim_random(&random) % 20001) / 10000.0 - 1.0);
        sum += (double)numbers[i] * (double)numbers[i];
    }
    for (uint32_t i = 0; i < dimensions; i++)
        numbers[i] = (float)((double)numbers[i] / sqrt(sum > 0 ? sum : 1));
    mg_err err = mg_buf_putc(out, base64 ? '"' : '[');
    if (err == MG_OK && base64)
        err = put_base64(numbers, dimensions, out);
    for (uint32_t i = 0; i < dimensions && err == MG_OK && !base64; i++)
        err = mg_buf_putf(out, i ? ",%.9g" : "%.9g", (double)numbers[i]);
    mg_free(numbers);
    MG_TRY(err);
    return mg_buf_putc(out, base64 ? '"' : ']');
}

/* Little-endian float32, as every machine we build for has them. */
static mg_err put_base64(const float *numbers, size_t count, struct mg_buf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *bytes = (const unsigned char *)numbers;
    size_t size = count * sizeof(*numbers);
    MG_TRY(mg_buf_reserve(out, (size + 2) / 3 * 4));
    char *to = mg_buf_tail(out);
    for (size_t i = 0; i < size; i += 3) {
        unsigned a = bytes[i], b = i + 1 < size ? bytes[i + 1] : 0,
                 c = i + 2 < size ? bytes[i + 2] : 0;
        *to++ = digits[a >> 2];
        *to++ = digits[(a << 4 | b >> 4) & 63];
        *to++ = i + 1 < size ? digits[(b << 2 | c >> 6) & 63] : '=';
        *to++ = i + 2 < size ? digits[c & 63] : '=';
    }
    mg_buf_grew(out, (size + 2) / 3 * 4);
    return MG_OK;
}

static uint64_t seed_of(const struct mg_json *input)
{
    if (mg_json_is(input, MG_JSON_STRING))
        return mg_fingerprint(mg_json_string(input));
    uint64_t seed = 0;
    for (const struct mg_json *each = mg_json_first(input); each; each = mg_json_next(each))
        seed = seed * 31 + (uint64_t)mg_json_double(each, 0);
    return seed;
}
