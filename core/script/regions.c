#include "script/regions.h"

#include <stdlib.h>

static struct mg_region *items(struct mg_buf *regions)
{
    return (struct mg_region *)(void *)(regions->ptr + regions->start);
}

/* regions[from … to-1] give way to one. */
static mg_err replace(struct mg_buf *regions, size_t from, size_t to, struct mg_region with)
{
    size_t count = mg_region_count(regions);
    if (from == to) {
        if (count >= MG_PATTERN_REGIONS)
            return MG_E_TOO_LARGE;
        MG_TRY(mg_buf_reserve(regions, sizeof with));
        mg_buf_grew(regions, sizeof with);
    }
    struct mg_region *list = items(regions);
    if (to != from + 1)
        memmove(&list[from + 1], &list[to], (count - to) * sizeof *list);
    list[from] = with;
    if (to > from + 1)
        regions->len -= (to - from - 1) * sizeof *list;
    return MG_OK;
}

static int by_end(const void *a, const void *b)
{
    const struct mg_region *x = a, *y = b;
    if (x->to != y->to)
        return x->to < y->to ? -1 : 1;
    return (x->from > y->from) - (x->from < y->from);
}

void mg_regions_sort(struct mg_buf *matches)
{
    if (mg_region_count(matches) > 1)
        qsort(items(matches), mg_region_count(matches), sizeof(struct mg_region), by_end);
}

mg_err mg_regions_add(struct mg_buf *regions, struct mg_region match, bool join)
{
    size_t to = mg_region_count(regions);
    if (match.from >= match.to)
        return MG_OK;
    while (to > 0 && items(regions)[to - 1].from >= match.to)
        to--;                          /* these lie behind it */
    size_t from = to;
    while (from > 0 && items(regions)[from - 1].to > match.from)
        from--;                        /* these overlap it */
    if (from == to)
        return replace(regions, from, to, match);

    struct mg_region first = items(regions)[from], last = items(regions)[to - 1];
    if (!join && first.from < match.from)
        return MG_OK;
    if (first.from < match.from || (first.from == match.from && (join || first.to >= match.to)))
        match.pattern = first.pattern;
    if (join || first.from == match.from) {
        uint32_t end = join ? last.to : first.to;
        match.from = first.from < match.from ? first.from : match.from;
        match.to = end > match.to ? end : match.to;
    }
    return replace(regions, from, to, match);
}
