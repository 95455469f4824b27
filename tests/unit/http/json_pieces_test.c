#include "http/json_pieces.h"

#include "base/mem.h"
#include "http/json_scan.h"

#include "check.h"

enum verdict { GROWING, COMPLETE, BROKEN };

static enum verdict judge(struct mg_json_pieces *pieces, bool fed)
{
    return !fed ? BROKEN : mg_json_pieces_complete(pieces) ? COMPLETE : GROWING;
}

static const struct {
    const char *text;
    enum verdict verdict;
} rows[] = {
    {"", GROWING},
    {" \n\t\r", GROWING},
    {"{}", COMPLETE},
    {" { } ", COMPLETE},
    {"[]", COMPLETE},
    {"{\"a\":1}", COMPLETE},
    {"{\"a\":1", GROWING},
    {"{\"a\":", GROWING},
    {"{\"a", GROWING},
    {"{\"a\" 1}", BROKEN},
    {"{\"a\":1,}", BROKEN},
    {"{,}", BROKEN},
    {"{1:2}", BROKEN},
    {"[1,]", BROKEN},
    {"[1 2]", BROKEN},
    {"[1,2", GROWING},
    {"[1}", BROKEN},
    {"{\"a\":[{\"b\":[]}]}", COMPLETE},
    {"{\"a\":[{\"b\":[}]}", BROKEN},
    {"{}{}", BROKEN},
    {"{} x", BROKEN},
    {"]", BROKEN},
    {"true", COMPLETE},
    {"tru", GROWING},
    {"trux", BROKEN},
    {"[true,false,null]", COMPLETE},
    {"[nulll]", BROKEN},
    {"0", COMPLETE},
    {"-0.5e+10", COMPLETE},
    {"[-1,2.5,3E7,4e-2,0]", COMPLETE},
    {"-", GROWING},
    {"1.", GROWING},
    {"1e", GROWING},
    {"1e+", GROWING},
    {"01", BROKEN},
    {"1.x", BROKEN},
    {"+1", BROKEN},
    {"[.5]", BROKEN},
    {"\"x\"", COMPLETE},
    {"\"x", GROWING},
    {"\"\\\"", GROWING},
    {"\"\\\\\"", COMPLETE},
    {"\"\\u12aF \\n\\/\"", COMPLETE},
    {"\"\\u12g4\"", BROKEN},
    {"\"\\u12", GROWING},
    {"\"\\x\"", BROKEN},
    {"\"a\nb\"", BROKEN},
    {"\"\xc3\xa4\"", COMPLETE},
    {"\xc3\xa4", BROKEN},
    {"not json", BROKEN},
    {"<html>", BROKEN},
};

TEST(tells_complete_growing_and_broken_texts_apart_at_every_cut)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mg_view text = mg_view_cstr(rows[i].text);
        for (size_t cut = 0; cut <= text.len; cut++) {
            struct mg_json_pieces pieces = {0};
            bool fed = mg_json_pieces_feed(&pieces, mg_view_head(text, cut));
            CHECK(fed || rows[i].verdict == BROKEN);
            fed = mg_json_pieces_feed(&pieces, mg_view_skip(text, cut));
            if (judge(&pieces, fed) != rows[i].verdict)
                check_failed(__FILE__, __LINE__, "%s, cut at %zu", rows[i].text, cut);
        }
    }
}

/* Escaped every which way, as models' arguments stand in chunks. */
TEST(reads_a_text_inside_a_json_string)
{
    static const struct {
        const char *span;
        enum verdict verdict;
    } spans[] = {
        {"\"\"", GROWING},
        {"\"{\\\"city\\\":\\\"Paris\\\"}\"", COMPLETE},
        {"\"{\\u0022city\\u0022:\\\"Par\\u00eds\\\"}\"", COMPLETE},
        {"\"{\\\"a\\\":\\\"\\\\n\\\"}\"", COMPLETE},
        {"\"{\\\"a\\\":\\\"\\n\\\"}\"", BROKEN},
        {"\"\\n\\t {}\\r\"", COMPLETE},
        {"\"\\b{}\"", BROKEN},
        {"\"{\\\"a\\\":\\\"\\ud83d\\ude00\\\"}\"", COMPLETE},
        {"\"\\u00e4\"", BROKEN},
        {"\"{\\\"a\\\":\"", GROWING},
        {"\"\\/\"", BROKEN},
    };
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
        struct mg_json_pieces pieces = {0};
        bool fed = mg_json_pieces_feed_string(&pieces, mg_view_cstr(spans[i].span));
        if (judge(&pieces, fed) != spans[i].verdict)
            check_failed(__FILE__, __LINE__, "%s", spans[i].span);
    }
}

TEST(stays_broken)
{
    struct mg_json_pieces pieces = {0};
    CHECK(!mg_json_pieces_feed(&pieces, MG_VIEW("}")));
    CHECK(!mg_json_pieces_feed(&pieces, MG_VIEW("{}")));
    CHECK(!mg_json_pieces_complete(&pieces));
}

TEST(knows_that_nothing_came)
{
    struct mg_json_pieces pieces = {0};
    CHECK(mg_json_pieces_feed(&pieces, MG_VIEW(" ")) && mg_json_pieces_empty(&pieces));
    CHECK(mg_json_pieces_feed(&pieces, MG_VIEW("{")) && !mg_json_pieces_empty(&pieces));
    CHECK(mg_json_pieces_feed(&pieces, MG_VIEW("}")) && !mg_json_pieces_empty(&pieces));
}

TEST(nesting_is_followed_to_its_limit_and_passes_beyond_it)
{
    char text[2 * MG_JSON_PIECES_DEPTH];
    memset(text, '[', MG_JSON_PIECES_DEPTH);
    memset(text + MG_JSON_PIECES_DEPTH, ']', MG_JSON_PIECES_DEPTH);
    struct mg_json_pieces pieces = {0};
    CHECK(mg_json_pieces_feed(&pieces, mg_view_of(text, sizeof text - 1)) && !mg_json_pieces_complete(&pieces));
    CHECK(mg_json_pieces_feed(&pieces, MG_VIEW("]")) && mg_json_pieces_complete(&pieces));

    pieces = (struct mg_json_pieces){0};
    CHECK(mg_json_pieces_feed(&pieces, mg_view_of(text, MG_JSON_PIECES_DEPTH)));
    CHECK(mg_json_pieces_feed(&pieces, MG_VIEW("[")) && mg_json_pieces_complete(&pieces));
}

MG_TEST_MAIN()
