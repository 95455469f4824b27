#include "script/pattern_prefix.h"

#include "base/mem.h"
#include "script/pattern_text.h"

/* With P(x) for "a beginning of x that is not empty":
 *
 *     P(a|b)    = P(a) | P(b)
 *     P(x y …)  = P(x) | x P(y …)
 *     P(x{n,m}) = x{0,m-1} P(x)
 *     P(c)      = c                 a character, class or escape
 *
 * An assertion stands before the item it stands before, and so is asked only when both its neighbours are there. */
enum { ITEMS = 256, NESTING = 24 };

struct item {
    mg_view atom;                      /* "a", "[a-z]", "\\d", "(…)"; empty: an assertion */
    mg_view whole;                     /* with its repetition */
    mg_view inner;                     /* of a group */
    bool group;
    uint64_t max;                      /* UINT64_MAX: no end */
};

static bool put_alternatives(mg_view text, struct mg_buf *out, int depth);

static bool put(struct mg_buf *out, mg_view text)
{
    return mg_buf_put(out, text) == MG_OK;
}

/* ---- reading */

/* Behind the ']' of the class that begins at `at`; 0: it does not end. */
static size_t class_end(mg_view text, size_t at)
{
    size_t i = at + 1;
    if (i < text.len && text.ptr[i] == '^')
        i++;
    if (i < text.len && text.ptr[i] == ']')
        i++;
    while (i < text.len && text.ptr[i] != ']') {
        if (text.ptr[i] == '[' && i + 1 < text.len && text.ptr[i + 1] == ':')
            i += 2 + mg_view_search(mg_view_skip(text, i + 2), MG_VIEW(":]")) + 1;
        i += text.ptr[i] == '\\' ? 2 : 1;
    }
    return i < text.len ? i + 1 : 0;
}

/* Behind the escape at `at`; 0: one that is not followed. */
static size_t escape_end(mg_view text, size_t at, bool *out_assertion)
{
    char c = at + 1 < text.len ? text.ptr[at + 1] : '\0';
    *out_assertion = c && strchr("bBzZ", c);
    if (c == '\0' || strchr("QEckgKRXoAG", c) || (c >= '0' && c <= '9'))
        return 0;
    if (c != 'x' && c != 'p' && c != 'P')
        return at + 2 + ((unsigned char)c >= 0xc0);      /* a letter beyond ASCII is refused below */
    if (at + 2 < text.len && text.ptr[at + 2] == '{') {
        size_t end = at + mg_view_find(mg_view_skip(text, at), "}");
        return end < text.len ? end + 1 : 0;
    }
    return c == 'x' ? at + 4 : at + 3;
}

/* Behind the ')' of the group that begins at `at`; 0: it does not end. */
static size_t group_end(mg_view text, size_t at)
{
    int depth = 0;
    bool ignored;
    for (size_t i = at; i < text.len;) {
        size_t next = i + 1;
        if (text.ptr[i] == '\\')
            next = escape_end(text, i, &ignored);
        else if (text.ptr[i] == '[')
            next = class_end(text, i);
        else if (text.ptr[i] == '(')
            depth++;
        else if (text.ptr[i] == ')' && --depth == 0)
            return next;
        if (next == 0)
            return 0;
        i = next;
    }
    return 0;
}

static size_t character_end(mg_view text, size_t at)
{
    do
        at++;
    while (at < text.len && ((unsigned char)text.ptr[at] & 0xc0) == 0x80);
    return at;
}

/* "*", "+", "?", "{n}", "{n,}", "{n,m}" at *at, and the mark of a lazy or possessive one; max is 1 without. */
static uint64_t take_repetition(mg_view text, size_t *at)
{
    uint64_t max = 1, low;
    char c = *at < text.len ? text.ptr[*at] : '\0';
    if (c == '*' || c == '+' || c == '?') {
        max = c == '?' ? 1 : UINT64_MAX;
        ++*at;
    } else if (c == '{') {
        size_t end = mg_view_find(mg_view_skip(text, *at), "}");
        mg_view inside = mg_view_head(mg_view_skip(text, *at + 1), end - 1);
        bool open = mg_view_ends(inside, MG_VIEW(","));
        mg_view first = mg_view_cut(&inside, ',');
        if (*at + end >= text.len || !mg_view_u64(first, &low))
            return 1;
        max = open ? UINT64_MAX : low;
        if (inside.len)
            (void)mg_view_u64(inside, &max);
        *at += end + 1;
    } else {
        return 1;
    }
    if (*at < text.len && (text.ptr[*at] == '?' || text.ptr[*at] == '+'))
        ++*at;
    return max;
}

static bool take_group(mg_view text, size_t *at, struct item *item)
{
    size_t end = group_end(text, *at);
    if (end == 0)
        return false;
    item->group = true;
    item->inner = mg_view_head(mg_view_skip(text, *at + 1), end - *at - 2);
    if (mg_view_starts(item->inner, MG_VIEW("?:")))
        item->inner = mg_view_skip(item->inner, 2);
    else if (mg_view_starts(item->inner, MG_VIEW("?")))
        return false;
    *at = end;
    return true;
}

static bool take_item(mg_view text, size_t *at, struct item *item)
{
    size_t from = *at;
    bool assertion = text.ptr[from] == '$';
    *item = (struct item){.max = 1};
    if (text.ptr[from] == '^')
        return false;                  /* no piece but the first begins where the text does */
    if (text.ptr[from] == '(') {
        if (!take_group(text, at, item))
            return false;
    } else if (text.ptr[from] == '[') {
        *at = class_end(text, from);
    } else if (text.ptr[from] == '\\') {
        *at = escape_end(text, from, &assertion);
    } else {
        *at = character_end(text, from);
    }
    if (*at <= from || *at > text.len)
        return false;
    item->atom = assertion ? MG_VIEW_NONE : mg_view_of(text.ptr + from, *at - from);
    item->max = take_repetition(text, at);
    item->whole = mg_view_of(text.ptr + from, *at - from);
    return true;
}

/* ---- writing */

static bool put_item(const struct item *item, struct mg_buf *out, int depth)
{
    if (item->max == UINT64_MAX && !(put(out, item->atom) && put(out, MG_VIEW("*"))))
        return false;
    if (item->max > 1 && item->max < UINT64_MAX &&
        !(put(out, item->atom) && mg_buf_putf(out, "{0,%llu}", (unsigned long long)item->max - 1) == MG_OK))
        return false;
    return item->group ? put_alternatives(item->inner, out, depth + 1) : put(out, item->atom);
}

/* (?:P(x)|x(?:P(y)|y(?:…))) */
static bool put_sequence(mg_view text, struct mg_buf *out, int depth)
{
    struct item item;
    int open = 0;
    mg_view before = MG_VIEW_NONE;     /* assertions and items that stand between the last one and this */
    for (size_t at = 0; at < text.len;) {
        size_t from = at;
        if (!take_item(text, &at, &item) || open == ITEMS)
            return false;
        before = before.ptr ? mg_view_of(before.ptr, before.len + (at - from)) : mg_view_of(text.ptr + from, at - from);
        if (item.atom.len == 0 || item.max == 0)
            continue;
        mg_view passed = mg_view_head(before, before.len - item.whole.len);
        if (open > 0 && !put(out, MG_VIEW("|")))
            return false;
        if (!put(out, passed) || !put(out, MG_VIEW("(?:")) || !put_item(&item, out, depth))
            return false;
        before = item.whole;
        open++;
    }
    while (open-- > 0)
        if (!put(out, MG_VIEW(")")))
            return false;
    return true;
}

static bool put_alternatives(mg_view text, struct mg_buf *out, int depth)
{
    size_t from = 0;
    bool ignored, any = false;
    if (depth > NESTING || !put(out, MG_VIEW("(?:")))
        return false;
    for (size_t at = 0; at <= text.len;) {
        if (at == text.len || text.ptr[at] == '|') {
            mg_view part = mg_view_of(text.ptr + from, at - from);
            if (part.len > 0) {
                if ((any && !put(out, MG_VIEW("|"))) || !put_sequence(part, out, depth))
                    return false;
                any = true;
            }
            from = ++at;
            continue;
        }
        size_t next = text.ptr[at] == '\\' ? escape_end(text, at, &ignored)
                      : text.ptr[at] == '[' ? class_end(text, at)
                      : text.ptr[at] == '(' ? group_end(text, at)
                                            : character_end(text, at);
        if (next <= at)
            return false;
        at = next;
    }
    return any && put(out, MG_VIEW(")"));
}

bool mg_pattern_prefix(const struct mg_pattern *pattern, struct mg_buf *out)
{
    char *expression = mg_pattern_expression(pattern);
    bool done = put_alternatives(mg_view_cstr(expression), out, 0) && put(out, MG_VIEW("\\z"));
    mg_free(expression);
    return done && mg_pattern_cost(mg_buf_view(out)) <= 4 * MG_PATTERN_COST;
}
