#include "script/pattern_text.h"

#include <stdio.h>

#include "base/mem.h"

enum { GROUPS = 64 };

/* Bounded repetitions are unrolled by the compiler, so (a{100}b){100} has 10,100 positions. The cost of a pattern is
 * their number: an item costs 1, a group what is in it, {n,m} multiplies by m (or n). */
struct cost {
    uint64_t sums[GROUPS];             /* of each open group, before its last item */
    int depth;
    uint64_t last;                     /* cost of the item that a repetition would apply to */
};

static void end_item(struct cost *c, uint64_t cost)
{
    c->sums[c->depth] += c->last;
    c->last = cost;
}

static size_t skip_class(mg_view text, size_t at)
{
    size_t start = ++at;
    if (at < text.len && text.ptr[at] == '^')
        start = ++at;
    while (at < text.len && (text.ptr[at] != ']' || at == start))
        at += text.ptr[at] == '\\' ? 2 : 1;
    return at;
}

/* "{3}", "{3,}" or "{3,5}" at `at`: its larger number and the place of '}'; false when the brace is a plain character. */
static bool repetition(mg_view text, size_t *at, uint64_t *out_times)
{
    mg_view rest = mg_view_skip(text, *at + 1);
    size_t end = mg_view_find(rest, "}");
    mg_view inside = mg_view_head(rest, end), low = mg_view_cut(&inside, ',');
    uint64_t from, to;
    if (end == rest.len || !mg_view_u64(low, &from))
        return false;
    if (!mg_view_u64(inside, &to))
        to = from;
    *at += 1 + end;
    *out_times = MG_MAX(MG_MAX(from, to), UINT64_C(1));
    return true;
}

uint64_t mg_pattern_cost(mg_view text)
{
    struct cost c = {{0}, 0, 0};
    for (size_t at = 0; at < text.len; at++) {
        uint64_t times;
        switch (text.ptr[at]) {
        case '\\':
            end_item(&c, 1);
            at++;
            break;
        case '[':
            end_item(&c, 1);
            at = skip_class(text, at);
            break;
        case '(':
            end_item(&c, 0);
            if (++c.depth == GROUPS)
                return UINT64_MAX;
            c.sums[c.depth] = 0;
            break;
        case ')':
            end_item(&c, 0);
            if (c.depth > 0)
                c.last = c.sums[c.depth--];
            break;
        case '{':
            if (repetition(text, &at, &times)) {
                if (c.last > MG_PATTERN_COST || times > MG_PATTERN_COST)
                    return UINT64_MAX;
                c.last *= times;
                break;
            }
            end_item(&c, 1);
            break;
        case '*':
        case '+':
        case '?':
        case '|':
            break;
        default:
            end_item(&c, 1);
        }
    }
    end_item(&c, 0);
    for (int i = 1; i <= c.depth; i++)
        c.sums[0] += c.sums[i];
    return c.sums[0];
}

const char *mg_pattern_refuse(const struct mg_pattern *pattern)
{
    size_t bad;
    if (pattern->text.len == 0)
        return "it is empty";
    if (pattern->text.len > MG_PATTERN_BYTES)
        return "it is longer than 2048 bytes";
    if (!mg_view_utf8(pattern->text, &bad))
        return "it is not UTF-8";
    if (memchr(pattern->text.ptr, '\0', pattern->text.len))
        return "it holds a NUL: write \\x00";
    if (!pattern->word && mg_pattern_cost(pattern->text) > MG_PATTERN_COST)
        return "its repetitions multiply to more than 4096 positions";
    return NULL;
}

bool mg_pattern_is_word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Every ASCII byte that could mean something is escaped; others, UTF-8 sequences included, stand for themselves. */
static char *word_expression(mg_view word)
{
    size_t size = word.len * 4 + 1, at = 0;
    char *out = mg_alloc(size);
    for (size_t i = 0; i < word.len; i++) {
        if (mg_pattern_is_word_byte(word.ptr[i]) || (unsigned char)word.ptr[i] >= 0x80)
            out[at++] = word.ptr[i];
        else
            at += (size_t)snprintf(out + at, size - at, "\\x%02x", (unsigned char)word.ptr[i]);
    }
    out[at] = '\0';
    return out;
}

char *mg_pattern_expression(const struct mg_pattern *pattern)
{
    return pattern->word ? word_expression(pattern->text) : mg_strndup(pattern->text.ptr, pattern->text.len);
}
