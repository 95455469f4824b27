/* regions_fuzz.c - regions are sorted and do not overlap; a union covers exactly the bytes that matches cover; otherwise each
 * region is a match, and every match touches one. Three bytes are a match: how far its end moves, its length, its pattern. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "script/regions.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXT = 65536, MATCHES = 2000 };

static uint8_t covered[TEXT], wanted[TEXT];
static struct mg_region matches[MATCHES];

static void must(bool true_, const char *what)
{
    if (!true_) {
        fputs(what, stderr);
        abort();
    }
}

/* Ends mostly rise, and sometimes step back, as the library has it; only a union takes them so. */
static size_t read_matches(const uint8_t *data, size_t size)
{
    size_t count = 0;
    uint32_t end = 0;
    for (; size >= 3 && count < MATCHES; data += 3, size -= 3) {
        end = data[0] == 255 && end > 4 ? end - 4 : end + data[0] % 16;
        if (end == 0 || end >= TEXT)
            continue;
        uint32_t length = data[1] < end ? data[1] : end;
        matches[count++] = (struct mg_region){end - length, end, data[2]};
    }
    return count;
}

static bool is_match(const struct mg_region *region, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (matches[i].from == region->from && matches[i].to == region->to)
            return true;
    return false;
}

static void check(const struct mg_buf *regions, size_t count, bool join)
{
    memset(covered, 0, TEXT);
    memset(wanted, 0, TEXT);
    for (size_t i = 0; i < count; i++)
        memset(wanted + matches[i].from, 1, matches[i].to - matches[i].from);
    for (size_t i = 0; i < mg_region_count(regions); i++) {
        const struct mg_region *region = mg_region_at(regions, i);
        must(region->from < region->to, "an empty region\n");
        must(i == 0 || mg_region_at(regions, i - 1)->to <= region->from, "regions overlap\n");
        must(join || is_match(region, count), "a region that is no match\n");
        memset(covered + region->from, 1, region->to - region->from);
    }
    must(!join || memcmp(covered, wanted, TEXT) == 0, "a union is not the union\n");
    for (size_t i = 0; i < count && !join; i++)
        must(matches[i].from == matches[i].to ||
                 memchr(covered + matches[i].from, 1, matches[i].to - matches[i].from), "a match is lost\n");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t count = read_matches(data, size);
    for (int join = 0; join <= 1; join++) {
        struct mg_buf regions;
        mg_buf_init(&regions, MATCHES * sizeof(struct mg_region));
        if (!join) {
            struct mg_buf all = {.ptr = (char *)matches, .len = count * sizeof matches[0]};
            mg_regions_sort(&all);
        }
        for (size_t i = 0; i < count; i++)
            must(mg_regions_add(&regions, matches[i], join) == MG_OK, "no room\n");
        check(&regions, count, join);
        mg_buf_fini(&regions);
    }
    return 0;
}
