/* column_fuzz.c - whatever bytes are opened as a column, it is an error, or every cell can be read; and what is packed from
 * them (the first byte says whether numbers or texts) comes back. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/column.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool true_, const char *what)
{
    if (!true_) {
        fputs(what, stderr);
        abort();
    }
}

/* Reads all of it, so that a sanitizer sees where. */
static uint64_t read_all(const struct mg_column *column)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < column->rows; i++) {
        mg_view text = column->text ? mg_column_view(column, i) : MG_VIEW_NONE;
        sum += (uint64_t)mg_column_number(column, i) + text.len + (text.len ? (unsigned char)text.ptr[text.len - 1] : 0);
    }
    return sum;
}

static void open_as_it_is(mg_view bytes)
{
    struct mg_column column;
    char *copy = mg_alloc(MG_MAX(bytes.len, (size_t)1)); /* aligned */
    memcpy(copy, bytes.ptr, bytes.len);
    if (mg_column_open(mg_view_of(copy, bytes.len), &column) == MG_OK) {
        read_all(&column);
        mg_column_close(&column);
    }
    mg_free(copy);
}

static void put(struct mg_column_builder *builder, const uint8_t *data, size_t size)
{
    while (size > 0) {
        size_t len = MG_MIN(size, (size_t)(1 + data[0] % 8));
        int64_t number = 0;
        memcpy(&number, data, len);
        must((builder->text ? mg_column_text(builder, mg_view_of((const char *)data, len)) : mg_column_int(builder, number)) == MG_OK,
             "a row was refused\n");
        data += len;
        size -= len;
    }
}

static void pack_and_open(const uint8_t *data, size_t size, bool text)
{
    struct mg_column_builder builder;
    struct mg_column column;
    struct mg_buf out;
    mg_buf_init(&out, 1 << 24);
    mg_column_init(&builder, text);
    put(&builder, data, size);
    struct mg_column plain = mg_column_of(&builder);
    must(mg_column_pack(&builder, &out) == MG_OK && mg_column_open(mg_buf_view(&out), &column) == MG_OK, "what was packed does not open\n");
    must(column.rows == plain.rows && read_all(&column) == read_all(&plain), "other rows came back\n");
    for (uint32_t i = 0; i < column.rows; i++)
        must(text ? mg_view_eq(mg_column_view(&column, i), mg_column_view(&plain, i))
                  : mg_column_number(&column, i) == mg_column_number(&plain, i), "another value came back\n");
    mg_column_close(&column);
    mg_column_fini(&builder);
    mg_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 60000)
        return 0;
    open_as_it_is(mg_view_of((const char *)data + 1, size - 1));
    pack_and_open(data + 1, size - 1, data[0] & 1);
    return 0;
}
