// A seat is a folder with a certificate, taken by a lock that the kernel drops with the process.
#include "server/ctl/seat.h"

#include "proto/base/file.h"
#include "proto/base/log.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// ---- memory: four lines of text, replaced as a whole

enum err seat_memory_write(const char *folder, const struct seat_memory *m)
{
	char path[PATH_MAX], store[33], lineage[33], text[256];

	TRY(path_join(path, sizeof(path), folder, "seat.state"));
	hex_encode(m->store_id.b, 16, store);
	hex_encode(m->lineage.b, 16, lineage);
	int n = snprintf(text, sizeof(text),
		"store %s\nboot %" PRIu64 "\nrequest %" PRIu64 "\nlineage %s\n", store,
		m->boot_counter, m->request_id, lineage);
	return file_write_atomic(path, text, (size_t)n, 0600);
}

enum err seat_memory_read(const char *folder, struct seat_memory *out)
{
	SCOPED_BUF struct buf text;
	char path[PATH_MAX], store[33], lineage[33];

	*out = (struct seat_memory){0};
	buf_init(&text, 4096);
	TRY(path_join(path, sizeof(path), folder, "seat.state"));
	enum err e = file_read(path, &text);
	if (e == ERR_NOT_FOUND) {
		random_fill(out->store_id.b, sizeof(out->store_id.b));
		return ERR_OK;
	}
	TRY(e);
	TRY(buf_append(&text, "", 1));
	if (sscanf((char *)text.data,
		    "store %32s boot %" SCNu64 " request %" SCNu64 " lineage %32s", store,
		    &out->boot_counter, &out->request_id, lineage) != 4 ||
		strlen(store) != 32 || hex_decode(store, out->store_id.b, 16) != ERR_OK ||
		strlen(lineage) != 32 || hex_decode(lineage, out->lineage.b, 16) != ERR_OK)
		return err_set(
			ERR_CORRUPT, "%s is damaged: remove it, the seat signs in anew", path);
	return ERR_OK;
}

// ---- which one

enum err seat_folder(const struct ctl_settings *s, const char *id, int n, char out[PATH_MAX])
{
	const char *slash = strrchr(s->seats, '/');
	int size = id ? snprintf(out, PATH_MAX, "%.*s%s", slash ? (int)(slash - s->seats + 1) : 0,
				s->seats, id)
		      : snprintf(out, PATH_MAX, "%s.%d", s->seats, n);

	return size < 0 || size >= PATH_MAX ? err_set(ERR_RANGE, "the path of a seat is too long")
					    : ERR_OK;
}

static enum err lock_try(const char *folder, int *lock)
{
	char path[PATH_MAX];

	TRY(path_join(path, sizeof(path), folder, "tls.crt"));
	if (access(path, R_OK) != 0)
		return err_set_errno("cannot read %s", path);
	TRY(path_join(path, sizeof(path), folder, "seat.lock"));
	return lock_take(path, lock);
}

static enum err seat_find(const struct ctl_settings *s, const char *wanted, struct seat *out)
{
	bool any = false;

	if (!*s->seats)
		return err_set(ERR_NOT_FOUND, "[identity] seats is not set");
	if (wanted) {
		if (!id_is_valid(wanted))
			return err_set(ERR_FORMAT, "%.80s is not an id", wanted);
		TRY(seat_folder(s, wanted, 0, out->folder));
		return lock_try(out->folder, &out->lock);
	}
	for (int n = 1; n <= SEATS_MAX; n++) {
		TRY(seat_folder(s, NULL, n, out->folder));
		enum err e = lock_try(out->folder, &out->lock);
		if (e == ERR_OK)
			return ERR_OK;
		any = any || e == ERR_EXISTS;
		if (e != ERR_EXISTS && e != ERR_NOT_FOUND)
			return e;
		if (e == ERR_NOT_FOUND && n > 9)
			break;
	}
	if (any)
		return err_set(ERR_EXISTS, "all seats of %s are taken: enrol another one, or wait",
			s->seats);
	return err_set(ERR_NOT_FOUND, "no seat %s.1: helioctl enrol operator NAME.1", s->seats);
}

static enum err seat_read(const struct ctl_settings *s, struct seat *out)
{
	char path[PATH_MAX], key_path[PATH_MAX];
	const char *slash = strrchr(out->folder, '/');

	if (!str_copy(out->id, sizeof(out->id), slash ? slash + 1 : out->folder) ||
		!id_is_valid(out->id))
		return err_set(ERR_FORMAT, "the folder %s is not named after a seat", out->folder);
	TRY(path_join(out->cert, sizeof(out->cert), out->folder, "tls.crt"));
	TRY(path_join(out->key, sizeof(out->key), out->folder, "tls.key"));
	TRY(path_join(out->ca, sizeof(out->ca), out->folder, "ca.crt"));
	if (*s->tls_ca)
		str_copy(out->ca, sizeof(out->ca), s->tls_ca);
	TRY(path_join(path, sizeof(path), out->folder, "identity.key"));
	TRY(sign_key_read(path, &out->identity));
	TRY(path_join(path, sizeof(path), out->folder, "root.bin"));
	TRY(path_join(key_path, sizeof(key_path), out->folder, "root.pub"));
	TRY(trust_open(&out->trust, *s->root_file ? s->root_file : path,
		*s->root_key ? s->root_key : key_path));
	TRY(seat_memory_read(out->folder, &out->memory));
	out->memory.boot_counter++;
	return seat_memory_write(out->folder, &out->memory);
}

enum err seat_take(const struct ctl_settings *s, const char *wanted, struct seat *out)
{
	*out = (struct seat){.lock = -1};
	TRY(seat_find(s, wanted, out));
	enum err e = seat_read(s, out);
	if (e != ERR_OK)
		seat_leave(out);
	return e;
}

void seat_leave(struct seat *s)
{
	if (s->lock < 0)
		return;
	// The memory is read last: without it there is nothing to store.
	if (s->memory.boot_counter > 0 && seat_memory_write(s->folder, &s->memory) != ERR_OK)
		log_warn("SEAT-STATE", "seat=%s why=%s", s->id, log_quote(err_text()));
	sign_key_free(s->identity);
	trust_close(&s->trust);
	close(s->lock);
	s->lock = -1;
	s->identity = NULL;
}
