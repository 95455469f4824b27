#include "store/column.h"

#include "base/mem.h"
#include "check.h"

struct packed {
    struct mg_buf bytes;
    struct mg_column column;
};

static void pack(struct packed *packed, const struct mg_column_builder *builder)
{
    mg_buf_init(&packed->bytes, 64 << 20);
    CHECK_OK(mg_column_pack(builder, &packed->bytes));
    CHECK_OK(mg_column_open(mg_buf_view(&packed->bytes), &packed->column));
}

static void drop(struct packed *packed)
{
    mg_column_close(&packed->column);
    mg_buf_fini(&packed->bytes);
}

static void same_numbers(const int64_t *numbers, uint32_t count, uint8_t want_width)
{
    struct mg_column_builder builder;
    struct packed packed;
    mg_column_init(&builder, false);
    for (uint32_t i = 0; i < count; i++)
        CHECK_OK(mg_column_int(&builder, numbers[i]));
    pack(&packed, &builder);
    CHECK_INT(packed.column.rows, count);
    CHECK_INT(packed.column.width, want_width);
    struct mg_column raw = mg_column_of(&builder);
    for (uint32_t i = 0; i < count; i++) {
        CHECK_INT(mg_column_number(&packed.column, i), numbers[i]);
        CHECK_INT(mg_column_number(&raw, i), numbers[i]);
        CHECK(packed.column.low <= numbers[i] && numbers[i] <= packed.column.high);
    }
    drop(&packed);
    mg_column_fini(&builder);
}

TEST(numbers_come_back_as_they_were)
{
    same_numbers((int64_t[]){0}, 0, 0);
    same_numbers((int64_t[]){7}, 1, 0);
    same_numbers((int64_t[]){7, 7, 7}, 3, 0);
    same_numbers((int64_t[]){-3, 200, 0}, 3, 1);
    same_numbers((int64_t[]){1000000000000, 1000000000700, 1000000000001}, 3, 2);
    same_numbers((int64_t[]){5, 70000, 0}, 3, 4);
    same_numbers((int64_t[]){INT64_MAX, INT64_MIN, 0, -1}, 4, 8);
}

TEST(numbers_that_only_grow_are_kept_as_steps)
{
    int64_t numbers[5000];
    struct mg_column_builder builder;
    struct packed packed;
    mg_column_init(&builder, false);
    for (int i = 0; i < 5000; i++) {
        numbers[i] = 1764000000000000 + (int64_t)i * i;
        CHECK_OK(mg_column_int(&builder, numbers[i]));
    }
    pack(&packed, &builder);
    CHECK(packed.bytes.len < 5000 * 2 + 64);
    for (uint32_t i = 0; i < 5000; i++)
        CHECK_INT(mg_column_number(&packed.column, i), numbers[i]);
    drop(&packed);
    mg_column_fini(&builder);
}

static mg_view name(int i)
{
    static char room[32];
    return mg_view_of(room, (size_t)snprintf(room, sizeof room, "name %d", i));
}

TEST(texts_come_back_and_a_word_is_kept_once)
{
    struct mg_column_builder builder;
    struct packed packed;
    mg_column_init(&builder, true);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3000; i++)
            CHECK_OK(mg_column_text(&builder, i % 5 ? name(i % 300) : MG_VIEW_NONE));
        pack(&packed, &builder);
        CHECK_INT(packed.column.word_count, 241);
        CHECK(packed.bytes.len < 3000 * 2);
        for (int i = 0; i < 3000; i++)
            CHECK(mg_view_eq(mg_column_view(&packed.column, (uint32_t)i), i % 5 ? name(i % 300) : MG_VIEW_NONE));
        CHECK(mg_view_eq(mg_column_word(&packed.column, 0), MG_VIEW_NONE));
        drop(&packed);
        mg_column_clear(&builder);
    }
    mg_column_fini(&builder);
}

TEST(a_column_that_is_full_refuses_a_row_and_keeps_the_others)
{
    struct mg_column_builder numbers, texts;
    mg_column_init(&numbers, false);
    mg_column_init(&texts, true);
    for (int i = 0; i < MG_COLUMN_ROWS; i++) {
        CHECK_OK(mg_column_int(&numbers, i));
        CHECK_OK(mg_column_text(&texts, name(i)));
    }
    CHECK_INT(mg_column_int(&numbers, 1), MG_E_TOO_LARGE);
    CHECK_INT(mg_column_text(&texts, MG_VIEW("more")), MG_E_TOO_LARGE);
    struct packed packed;
    pack(&packed, &texts);
    CHECK_INT(packed.column.rows, MG_COLUMN_ROWS);
    CHECK(mg_view_eq(mg_column_view(&packed.column, 65535), name(65535)));
    drop(&packed);
    mg_column_fini(&numbers);
    mg_column_fini(&texts);
}

TEST(a_long_text_is_cut_at_a_letter)
{
    static char text[MG_COLUMN_WORD_BYTES + 8];
    for (size_t i = 0; i + 1 < sizeof text; i += 2)
        memcpy(text + i, "é", 2);
    memmove(text + 1, text, sizeof text - 1);
    text[0] = 'x';
    struct mg_column_builder builder;
    mg_column_init(&builder, true);
    CHECK_OK(mg_column_text(&builder, mg_view_of(text, sizeof text)));
    struct mg_column column = mg_column_of(&builder);
    CHECK_INT(mg_column_view(&column, 0).len, MG_COLUMN_WORD_BYTES - 1);
    mg_column_fini(&builder);
}

/* Every byte of a packed column changed, and every shorter length of it: an error or a column that can be read. */
static void survives(mg_view bytes)
{
    struct mg_column column;
    if (mg_column_open(bytes, &column) != MG_OK)
        return;
    size_t letters = 0;
    for (uint32_t i = 0; i < column.rows && column.text; i++)
        for (size_t at = 0; at < mg_column_view(&column, i).len; at++)
            letters += (unsigned char)mg_column_view(&column, i).ptr[at] & 1;
    CHECK(letters <= (size_t)column.rows * MG_COLUMN_BYTES);
    mg_column_close(&column);
}

TEST(damage_is_an_error_and_never_a_read_elsewhere)
{
    struct mg_column_builder builder;
    struct packed packed;
    mg_column_init(&builder, true);
    for (int i = 0; i < 200; i++)
        CHECK_OK(mg_column_text(&builder, name(i % 7)));
    pack(&packed, &builder);
    size_t len = packed.bytes.len;
    char *copy = mg_alloc(len);
    for (size_t at = 0; at < len; at++) {
        for (int change = 1; change < 256; change += 51) {
            memcpy(copy, packed.bytes.ptr, len);
            copy[at] = (char)(copy[at] ^ change);
            survives(mg_view_of(copy, len));
        }
        char *shorter = mg_alloc(at + 1);
        memcpy(shorter, packed.bytes.ptr, at);
        struct mg_column column;
        CHECK(mg_column_open(mg_view_of(shorter, at), &column) != MG_OK);
        mg_free(shorter);
    }
    mg_free(copy);
    drop(&packed);
    mg_column_fini(&builder);
}

MG_TEST_MAIN()
