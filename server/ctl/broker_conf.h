// Renders the broker templates of broker-conf/ without Ansible: `{{ name }}` is replaced, nothing
// else is known. Templates and defaults are built into the program; a folder may be given instead.
// The result equals Ansible's own, byte for byte (tests/rules/test_broker_conf.py).
#ifndef HELIO_CTL_BROKER_CONF_H
#define HELIO_CTL_BROKER_CONF_H

#include "proto/base/mem.h"

#define BROKER_CONF_MAX (1024 * 1024) // bytes of a rendered file
#define BROKER_VARIABLES_MAX 128

struct broker_variable {
	char name[64];
	char *value;
	char *meaning; // the comment above it in the defaults, one line
};

struct broker_conf {
	char kind[16];
	const char *folder; // borrowed; NULL: the built-in ones
	struct broker_variable variables[BROKER_VARIABLES_MAX];
	size_t count;
};

// Reads the defaults of `kind`. Errors: ERR_NOT_FOUND (no such kind, or the folder), ERR_FORMAT.
enum err broker_conf_open(struct broker_conf *b, const char *kind, const char *folder) MUST_CHECK;
void broker_conf_close(struct broker_conf *b);

// Errors: ERR_NOT_FOUND (no such variable), ERR_FORMAT (control characters, an id that is none).
enum err broker_conf_set(struct broker_conf *b, const char *name, const char *value) MUST_CHECK;
const char *broker_conf_get(const struct broker_conf *b, const char *name);

// Renders one file, for example "control.conf.j2". Errors: ERR_NOT_FOUND (file, variable),
// ERR_FORMAT.
enum err broker_conf_render(struct broker_conf *b, const char *file, struct buf *out) MUST_CHECK;

// Replaces `{{ name }}` by what find() gives; anything else of Jinja's language is ERR_UNSUPPORTED.
enum err template_fill(struct bytes text, const char *(*find)(void *ctx, const char *name),
	void *ctx, struct buf *out) MUST_CHECK;

// ---- what the build put in

struct broker_template {
	const char *name; // "blocks/crl.j2"
	const unsigned char *data;
	size_t size;
};
extern const struct broker_template broker_templates[];
extern const size_t broker_template_count;

#endif
