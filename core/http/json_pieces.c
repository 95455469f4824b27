/* A byte at a time through the states of RFC 8259; what closes a value goes through end_value(). */
#include "http/json_pieces.h"

#include <string.h>

enum state {
    VALUE,                             /* a value must come; at depth 0 nothing came yet */
    FIRST_VALUE,                       /* … or the array ends */
    FIRST_KEY, KEY,                    /* a key must come, the first one or the end of the object */
    COLON,
    AFTER,                             /* a value ended: a comma, a bracket, or at depth 0 nothing */
    STRING, ESCAPE, HEX,
    TRUE_, FALSE_, NULL_,
    MINUS, ZERO, WHOLE, POINT, FRACTION, E, SIGN, EXPONENT,
    BROKEN
};

static bool is_blank(unsigned char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static bool in_object(const struct mg_json_pieces *p)
{
    unsigned top = p->depth - 1u;
    return p->objects[top / 64] >> (top % 64) & 1;
}

static enum state open(struct mg_json_pieces *p, bool object)
{
    if (p->depth == MG_JSON_PIECES_DEPTH) {
        p->outgrown = true;
        return AFTER;
    }
    uint64_t bit = UINT64_C(1) << (p->depth % 64);
    p->objects[p->depth / 64] = (p->objects[p->depth / 64] & ~bit) | (object ? bit : 0);
    p->depth++;
    return object ? FIRST_KEY : FIRST_VALUE;
}

static enum state close(struct mg_json_pieces *p, unsigned char c)
{
    if (p->depth == 0 || in_object(p) != (c == '}'))
        return BROKEN;
    p->depth--;
    return AFTER;
}

static enum state literal(struct mg_json_pieces *p, enum state which)
{
    p->step = 1;
    return which;
}

static enum state begin_value(struct mg_json_pieces *p, unsigned char c)
{
    switch (c) {
    case '{': return open(p, true);
    case '[': return open(p, false);
    case '"': p->in_key = false; return STRING;
    case 't': return literal(p, TRUE_);
    case 'f': return literal(p, FALSE_);
    case 'n': return literal(p, NULL_);
    case '-': return MINUS;
    case '0': return ZERO;
    default: return is_digit(c) ? WHOLE : BROKEN;
    }
}

static enum state begin_key(struct mg_json_pieces *p, unsigned char c)
{
    p->in_key = true;
    return c == '"' ? STRING : BROKEN;
}

static enum state after(struct mg_json_pieces *p, unsigned char c)
{
    if (is_blank(c))
        return AFTER;
    if (c == '}' || c == ']')
        return close(p, c);
    if (c != ',' || p->depth == 0)
        return BROKEN;
    return in_object(p) ? KEY : VALUE;
}

static enum state spell(struct mg_json_pieces *p, unsigned char c, const char *word, enum state same)
{
    if (c != (unsigned char)word[p->step])
        return BROKEN;
    return word[++p->step] ? same : AFTER;
}

static enum state in_string(struct mg_json_pieces *p, unsigned char c)
{
    if (c == '"')
        return p->in_key ? COLON : AFTER;
    return c == '\\' ? ESCAPE : c < 0x20 ? BROKEN : STRING;
}

static enum state in_escape(struct mg_json_pieces *p, unsigned char c)
{
    p->step = 0;
    if (c == 'u')
        return HEX;
    return c && strchr("\"\\/bfnrt", c) ? STRING : BROKEN;
}

static enum state in_hex(struct mg_json_pieces *p, unsigned char c)
{
    unsigned char low = c | 0x20;
    if (!is_digit(c) && !(low >= 'a' && low <= 'f'))
        return BROKEN;
    return ++p->step == 4 ? STRING : HEX;
}

/* Numbers end at the byte behind them. */
static enum state in_number(struct mg_json_pieces *p, enum state at, unsigned char c)
{
    bool digit = is_digit(c), e = (c | 0x20) == 'e';
    switch (at) {
    case MINUS: return c == '0' ? ZERO : digit ? WHOLE : BROKEN;
    case ZERO: return c == '.' ? POINT : e ? E : after(p, c);
    case WHOLE: return digit ? WHOLE : c == '.' ? POINT : e ? E : after(p, c);
    case POINT: return digit ? FRACTION : BROKEN;
    case FRACTION: return digit ? FRACTION : e ? E : after(p, c);
    case E: return digit ? EXPONENT : c == '+' || c == '-' ? SIGN : BROKEN;
    case SIGN: return digit ? EXPONENT : BROKEN;
    default: return digit ? EXPONENT : after(p, c);
    }
}

static enum state step(struct mg_json_pieces *p, unsigned char c)
{
    enum state at = (enum state)p->state;
    switch (at) {
    case VALUE: return is_blank(c) ? at : begin_value(p, c);
    case FIRST_VALUE: return is_blank(c) ? at : c == ']' ? close(p, c) : begin_value(p, c);
    case FIRST_KEY: return is_blank(c) ? at : c == '}' ? close(p, c) : begin_key(p, c);
    case KEY: return is_blank(c) ? at : begin_key(p, c);
    case COLON: return is_blank(c) ? at : c == ':' ? VALUE : BROKEN;
    case AFTER: return after(p, c);
    case STRING: return in_string(p, c);
    case ESCAPE: return in_escape(p, c);
    case HEX: return in_hex(p, c);
    case TRUE_: return spell(p, c, "true", at);
    case FALSE_: return spell(p, c, "false", at);
    case NULL_: return spell(p, c, "null", at);
    case BROKEN: return BROKEN;
    default: return in_number(p, at, c);
    }
}

static void feed(struct mg_json_pieces *p, unsigned char c)
{
    if (!p->outgrown)
        p->state = (uint8_t)step(p, c);
}

bool mg_json_pieces_feed(struct mg_json_pieces *pieces, mg_view bytes)
{
    for (size_t i = 0; i < bytes.len && pieces->state != BROKEN; i++)
        feed(pieces, (unsigned char)bytes.ptr[i]);
    return pieces->state != BROKEN;
}

/* The byte that \uXXXX at `at` stands for; 0x80 for whatever is not ASCII, which is only good inside a string. */
static unsigned char of_unit(const char *at)
{
    unsigned unit = 0;
    for (int i = 2; i < 6; i++) {
        unsigned char c = (unsigned char)at[i];
        unit = unit << 4 | (is_digit(c) ? c - (unsigned)'0' : (c | 0x20u) - 'a' + 10u);
    }
    return unit < 0x80 ? (unsigned char)unit : 0x80;
}

bool mg_json_pieces_feed_string(struct mg_json_pieces *pieces, mg_view span)
{
    static const char names[] = "bfnrt", bytes[] = "\b\f\n\r\t";
    for (size_t i = 1; i + 1 < span.len && pieces->state != BROKEN; i++) {
        unsigned char c = (unsigned char)span.ptr[i];
        if (c == '\\' && span.ptr[i + 1] == 'u') {
            c = of_unit(span.ptr + i);
            i += 5;
        } else if (c == '\\') {
            const char *name = strchr(names, span.ptr[++i]);
            c = (unsigned char)(name ? bytes[name - names] : span.ptr[i]);
        }
        feed(pieces, c);
    }
    return pieces->state != BROKEN;
}

bool mg_json_pieces_complete(const struct mg_json_pieces *pieces)
{
    enum state at = (enum state)pieces->state;
    bool ended = at == AFTER || at == ZERO || at == WHOLE || at == FRACTION || at == EXPONENT;
    return pieces->outgrown || (ended && pieces->depth == 0);
}

bool mg_json_pieces_empty(const struct mg_json_pieces *pieces)
{
    return pieces->state == VALUE && pieces->depth == 0;
}
