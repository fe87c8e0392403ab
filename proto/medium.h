// A medium, a disc or a stick, is a broker that can be carried: a path on it is a topic, and the
// bytes of the file are those that lie on the topic.
//
//   ORDER.txt                                  for people: client, package, what to do
//   helio/v1/medium/<client>/<order>           Envelope of Medium: who may install what
//   helio/v1/pkg/<publisher>/<package>         the signed manifest
//   helio/v1/idx/<publisher>/<package>/full    the signed index
//   helio/v1/chunk/<publisher>/<sha256>        objects
//   helio/return/<client>.bin                  what the client wrote back: parts, each an Envelope
//   of
//                                              MediumReturn behind its length (4 bytes, lowest
//                                              first)
//
// Several clients may share one: each has its orders, and what is equal lies there once. Nothing on
// it is believed: not the names, not the sizes, and no key lies on it.
#ifndef HELIO_MEDIUM_H
#define HELIO_MEDIUM_H

#include "proto/limits.h"

#define MEDIUM_LABEL "ORDER.txt"
#define MEDIUM_ORDERS "helio/v1/medium"
#define MEDIUM_RETURN "helio/return"
// Of one client: a whole ledger of the usual size, 190,000 showings, takes some 20 MiB.
#define MEDIUM_RETURN_MAX (64u << 20)
#define MEDIUM_ORDERS_MAX 4096 // on one medium
#define MEDIUM_FILES_MAX (1u << 20)
// Of an image that is read without being mounted: libarchive takes some 600 bytes of the device for
// each, and 4 kB of the publisher. Some 30 GB of objects.
#define MEDIUM_IMAGE_FILES_MAX (1u << 17)
// With them: two for each order (its client's, and of its index), and those of the tree above.
#define MEDIUM_IMAGE_FOLDERS_MAX (16 + 2 * MEDIUM_ORDERS_MAX)

#endif
