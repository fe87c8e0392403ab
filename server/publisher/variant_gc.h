// Sizes of pictures that no order of the store wants any more. Nothing may be packed or resized
// meanwhile (work.h): the caller sees to it.
#ifndef HELIO_PUBLISHER_VARIANT_GC_H
#define HELIO_PUBLISHER_VARIANT_GC_H

#include "server/publisher/orders.h"

// gc->dry is the caller's; removed and bytes are told.
enum err variants_unused_collect(struct publisher *p, struct variant_gc *gc) MUST_CHECK;

#endif
