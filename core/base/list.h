/* list.h - an intrusive doubly linked list.
 *
 * The head is an mg_list too. An element embeds an mg_list and is found with mg_container_of.
 * mg_list_remove() leaves the element linked to itself, so removing twice is harmless. */
#ifndef MG_BASE_LIST_H
#define MG_BASE_LIST_H

#include <stdbool.h>

struct mg_list {
    struct mg_list *next;
    struct mg_list *prev;
};

static inline void mg_list_init(struct mg_list *list)
{
    list->next = list;
    list->prev = list;
}

static inline bool mg_list_empty(const struct mg_list *list)
{
    return list->next == list;
}

static inline void mg_list_push_back(struct mg_list *head, struct mg_list *item)
{
    item->prev = head->prev;
    item->next = head;
    head->prev->next = item;
    head->prev = item;
}

static inline void mg_list_push_front(struct mg_list *head, struct mg_list *item)
{
    mg_list_push_back(head->next, item);
}

static inline void mg_list_remove(struct mg_list *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    mg_list_init(item);
}

/* NULL when empty. */
static inline struct mg_list *mg_list_pop_front(struct mg_list *head)
{
    struct mg_list *item = head->next;
    if (item == head)
        return 0;
    mg_list_remove(item);
    return item;
}

/* `next_` is read before the body runs, so the body may remove `item_`. */
#define MG_LIST_EACH(item_, next_, head_)                                                          \
    for (struct mg_list *item_ = (head_)->next, *next_ = item_->next; item_ != (head_);            \
         item_ = next_, next_ = item_->next)

#endif
