// Every limit of the language in one place, each with its reason. The broker templates carry the
// same numbers; a test holds the two equal. Limits of one program stand in its own settings.
#ifndef HELIO_LIMITS_H
#define HELIO_LIMITS_H

#define LIMIT_ID 64                        // an id is one topic level
#define LIMIT_TOPIC 256                    // helio/v1/idx/<64>/<64>/<64> and some air
#define LIMIT_HEARTBEAT (16 * 1024)        // a full heartbeat of 100 holdings is 6 kB
#define LIMIT_RESPONSE (64 * 1024)
#define LIMIT_REPORT (256 * 1024)          // larger answers travel in parts
#define LIMIT_REPORT_PART (128 * 1024)     // of a report in parts; four of them are on the way at a time
#define LIMIT_REPORT_BYTES (4 * 1024 * 1024) // of all parts; more is cut by the agent, and says so
#define LIMIT_WANT (64 * 1024)
#define LIMIT_GRANT (8 * 1024)
#define LIMIT_PUBLISHER_MSG (64 * 1024)    // carries a manifest root
#define LIMIT_DIRECTIVE (64 * 1024)
#define LIMIT_API (256 * 1024)
#define LIMIT_VIEW (256 * 1024)
#define LIMIT_OFFER (4 * 1024)
#define LIMIT_ENVELOPE (20 * 1024)         // a root of 16 KiB, its type and signatures
#define LIMIT_MEDIUM_ENVELOPE 4096 // of one client and one package
#define LIMIT_RETURN (192 * 1024)          // a part of what comes back on a stick: fits one API request
#define LIMIT_RETURN_ROWS 300              // of the longest path; 180 kB
#define LIMIT_MANIFEST_ROOT (16 * 1024)
#define LIMIT_PAGE (96 * 1024)             // about 2,000 chunks; what an agent holds at a time
#define LIMIT_PAGES 320                    // fits a root: 640,000 chunks, about 120 GB
#define LIMIT_INDEX (64 * 1024)            // two hashes a page and the page objects
#define LIMIT_INDEX_PAGE (192 * 1024)
#define LIMIT_CHUNK (1024 * 1024)          // plain bytes of one chunk
#define LIMIT_OBJECT (LIMIT_CHUNK + 64 * 1024) // transported; zstd may grow a little
#define LIMIT_PACKET 1900000               // above 1.9 MB Mosquitto 2.0.11 has its own ideas
#define LIMIT_FILES 100000                 // files in a package
#define LIMIT_SIGNATURES 16
#define LIMIT_TEXT 512                     // reasons, details
#define LIMIT_HOLDINGS 100
#define LIMIT_CHANGES 32
#define LIMIT_PACKAGES_PER_RESPONSE 16
#define LIMIT_ARGS 32
#define LIMIT_TAGS 32
#define LIMIT_SOFTWARE 32
#define LIMIT_UPDATES 8                    // under way or failed, in a heartbeat
#define LIMIT_PLANS 32                     // of a package order; their groups fit a manifest root
#define LIMIT_DAYPARTS 16                  // of a plan: two a day and some air
#define LIMIT_EXPRESSION 1024              // of a plan's criteria
#define LIMIT_WEIGHT 1000
#define LIMIT_WARNINGS 16                  // of an order's outcome
#define LIMIT_INVENTORY 4000               // software of a whole system; fits one stored report
#define LIMIT_MISSING 256
#define LIMIT_USAGE_ROWS 1000
#define LIMIT_CLIENT_CHANNELS 8 // channels of one client
#define LIMIT_VIEW_ELEMENTS 200
#define LIMIT_VIEW_POINTERS 200

// Chunking (FastCDC): measured best between 128 and 256 KiB; below, CPU per byte; above, nothing.
#define CHUNK_MIN (64 * 1024)
#define CHUNK_AVG (192 * 1024)
#define CHUNK_MAX (768 * 1024)

// Time.
#define HEARTBEAT_MIN_MS 200               // S003-4
#define HEARTBEAT_MAX_MS (24 * 3600 * 1000)
#define RECONNECT_SPREAD_MAX_MS (3600 * 1000) // a million clients need 667 s
#define OFFER_LIFE_MS 60000
#define SESSION_LIFE_MS (24 * 3600 * 1000)
#define ANSWER_WINDOW_BEATS 16             // an agent takes a response to one of its last 16 beats
#define HEARD_WINDOW_RESPONSES 3           // last_heard needs one of the last three response ids
#define BEATS_WITHOUT_ANSWER 6             // then sign in again

// Broker.
#define BROKER_MAX_INFLIGHT 20
#define CONTROL_MAX_INFLIGHT 400           // also the Receive Maximum that the server is told
#define BROKER_MAX_QUEUED 1000
#define CONTROL_OUTSTANDING 15             // QoS 1 publishes of a Paho client; 20 can stall it
#define SERVER_OUTSTANDING 200             // half of what the control broker takes: Paho does not stall
#define CHUNK_OUTSTANDING 4                // large ones
#define FETCH_WINDOW_MAX 64
#define INBOX_MESSAGES 65536
#define INBOX_BYTES (64 * 1024 * 1024)

#endif
