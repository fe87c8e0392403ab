// Objects: what is transported and what it yields. The decoder is where bytes from a broker become
// content, so it does things in one order only: length and hash of what came, then decoding into
// a buffer of exactly the promised size, then each plain chunk against the manifest. libzstd stays
// behind this file.
#include "proto/content.h"
#include "proto/delta.h"
#include "proto/digest.h"
#include "proto/seal_content.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

// What an object may yield or need: checked before anything is allocated for it.
static enum err run_size(const struct object *o, const struct chunk_ref *run, size_t *total)
{
	size_t sum = 0;

	if (o->chunk_count == 0)
		return err_set(ERR_RANGE, "object yields no chunk");
	for (uint32_t i = 0; i < o->chunk_count; i++) {
		if (run[i].size == 0 || run[i].size > LIMIT_CHUNK)
			return err_set(
				ERR_RANGE, "chunk of %u bytes in an object", (unsigned)run[i].size);
		sum += run[i].size;
		if (sum > OBJECT_OUTPUT_MAX)
			return err_set(
				ERR_RANGE, "object yields more than %d bytes", OBJECT_OUTPUT_MAX);
	}
	*total = sum;
	return ERR_OK;
}

static enum err transported_check(const struct object *o, struct bytes transported)
{
	if (transported.size != o->size_bytes)
		return err_set(ERR_CORRUPT, "object %s has %zu bytes instead of %u",
			digest_short(&o->sha256), transported.size, (unsigned)o->size_bytes);
	struct digest is = sha256(transported.data, transported.size);
	if (!digest_equal(&is, &o->sha256))
		return err_set(ERR_CORRUPT, "object %s hashes to %s", digest_short(&o->sha256),
			digest_short(&is));
	return ERR_OK;
}

static enum err chunks_check(
	const struct object *o, const struct chunk_ref *run, struct bytes plain)
{
	const uint8_t *at = plain.data;

	for (uint32_t i = 0; i < o->chunk_count; i++) {
		struct digest is = sha256(at, run[i].size);
		if (!digest_equal(&is, &run[i].sha256))
			return err_set(ERR_FORMAT,
				"object %s yields a chunk of hash %s instead of %s",
				digest_short(&o->sha256), digest_short(&is),
				digest_short(&run[i].sha256));
		at += run[i].size;
	}
	return ERR_OK;
}

// ---- decoder

struct object_decoder {
	ZSTD_DCtx *zstd;
	struct buf plain;
	struct buf patch;        // of BSDIFF_ZSTD
	const struct key32 *key; // of a sealed package; NULL: none
	struct buf opened;
};

enum err object_decoder_new(struct object_decoder **out)
{
	struct object_decoder *d = calloc(1, sizeof *d);

	if (d)
		d->zstd = ZSTD_createDCtx();
	if (!d || !d->zstd) {
		free(d);
		return err_set(ERR_MEMORY, "no memory for an object decoder");
	}
	buf_init(&d->plain, OBJECT_OUTPUT_MAX);
	buf_init(&d->patch, DELTA_PATCH_MAX);
	buf_init(&d->opened, LIMIT_OBJECT);
	*out = d;
	return ERR_OK;
}

void object_decoder_free(struct object_decoder *d)
{
	if (!d)
		return;
	ZSTD_freeDCtx(d->zstd);
	buf_fini(&d->plain);
	buf_fini(&d->patch);
	buf_fini(&d->opened);
	free(d);
}

void object_decoder_key(struct object_decoder *d, const struct key32 *key)
{
	d->key = key;
}

// What a frame may promise: bytes.
struct promise {
	size_t least, most;
};

// One zstd frame, that is all of `in` and says how much it yields.
static enum err frame_check(
	const struct object *o, struct bytes in, struct promise may, unsigned long long *promised)
{
	size_t frame = ZSTD_findFrameCompressedSize(in.data, in.size);

	if (ZSTD_isError(frame) || frame != in.size)
		return err_set(
			ERR_FORMAT, "object %s is not one zstd frame", digest_short(&o->sha256));
	*promised = ZSTD_getFrameContentSize(in.data, in.size);
	if (*promised > may.most || *promised < may.least) // or unknown, or an error
		return err_set(ERR_FORMAT, "object %s does not promise %zu to %zu bytes",
			digest_short(&o->sha256), may.least, may.most);
	return ERR_OK;
}

// Into `out`, in one step: the output is the window, so nothing else is allocated for it.
static enum err inflate(struct object_decoder *d, const struct object *o, struct bytes in,
	struct bytes prefix, struct promise may, struct buf *out)
{
	unsigned long long promised = 0;

	TRY(frame_check(o, in, may, &promised));
	buf_clear(out);
	TRY(buf_reserve(out, (size_t)promised));
	ZSTD_DCtx_reset(d->zstd, ZSTD_reset_session_and_parameters);
	if (prefix.size > 0 && ZSTD_isError(ZSTD_DCtx_refPrefix(d->zstd, prefix.data, prefix.size)))
		return err_set(ERR_MEMORY, "zstd refuses a prefix of %zu bytes", prefix.size);
	size_t n = ZSTD_decompressDCtx(d->zstd, out->data, (size_t)promised, in.data, in.size);
	if (ZSTD_isError(n))
		return err_set(ERR_FORMAT, "object %s: zstd: %s", digest_short(&o->sha256),
			ZSTD_getErrorName(n));
	if (n != promised)
		return err_set(ERR_FORMAT, "object %s yields %zu bytes instead of %llu",
			digest_short(&o->sha256), n, promised);
	out->size = n;
	return ERR_OK;
}

static enum err plain_open(struct object_decoder *d, const struct object *o, size_t total,
	struct bytes in, struct bytes prefix)
{
	if (o->coding == CODING_BSDIFF_ZSTD) {
		TRY(inflate(d, o, in, (struct bytes){0}, (struct promise){2, DELTA_PATCH_MAX},
			&d->patch));
		buf_clear(&d->plain);
		TRY(buf_reserve(&d->plain, total));
		TRY(delta_apply(prefix, buf_bytes(&d->patch), d->plain.data, total));
		d->plain.size = total;
		return ERR_OK;
	}
	return inflate(d, o, in, prefix, (struct promise){total, total}, &d->plain);
}

static enum err prefix_check(const struct object *o, struct bytes prefix)
{
	size_t sum = 0;

	for (size_t i = 0; i < o->base_size_count; i++)
		sum += o->base_sizes[i];
	if (!coding_has_base(o->coding))
		sum = 0;
	// How long its own runs are stands in the page; the output's hash tells whether all was
	// right.
	bool fits = o->own_run_count > 0 ? prefix.size > sum && prefix.size <= OBJECT_BASE_MAX
					 : prefix.size == sum;
	if (!fits)
		return err_set(ERR_FORMAT, "object %s was given %zu base bytes instead of %zu",
			digest_short(&o->sha256), prefix.size, sum);
	return ERR_OK;
}

// RAW: what came is what it yields. A single chunk bears the name of the object, which was checked.
static enum err open_raw(const struct object *o, const struct chunk_ref *run, size_t total,
	struct bytes transported, struct bytes *plain)
{
	if (transported.size != total)
		return err_set(ERR_FORMAT, "object %s has %zu bytes for chunks of %zu",
			digest_short(&o->sha256), transported.size, total);
	if (o->chunk_count != 1 || !digest_equal(&o->sha256, &run[0].sha256))
		TRY(chunks_check(o, run, transported));
	*plain = transported;
	return ERR_OK;
}

enum err object_open(struct object_decoder *d, const struct object *o, const struct chunk_ref *run,
	struct bytes transported, struct bytes prefix, struct bytes *plain)
{
	size_t total = 0;

	TRY(run_size(o, run, &total));
	TRY(transported_check(o, transported));
	TRY(prefix_check(o, prefix));
	if (d->key) {
		TRY(content_open(d->key, transported, &d->opened));
		transported = buf_bytes(&d->opened);
	}
	switch (o->coding) {
	case CODING_RAW:
		return open_raw(o, run, total, transported, plain);
	case CODING_ZSTD:
	case CODING_ZSTD_PREFIX:
	case CODING_BSDIFF_ZSTD:
		TRY(plain_open(d, o, total, transported, prefix));
		TRY(chunks_check(o, run, buf_bytes(&d->plain)));
		*plain = buf_bytes(&d->plain);
		return ERR_OK;
	}
	return err_set(ERR_UNSUPPORTED, "object %s has coding %d, which this program does not know",
		digest_short(&o->sha256), (int)o->coding);
}

// ---- encoder

struct object_encoder {
	struct object_profile profile;
	ZSTD_CCtx *zstd;
	struct buf packed;
	struct delta_maker *maker; // made when the first delta is
	struct buf patch, patch_packed;
	const struct key32 *key; // of a sealed package; NULL: none
	struct buf sealed;
};

enum err object_encoder_new(const struct object_profile *profile, struct object_encoder **out)
{
	struct object_encoder *e = calloc(1, sizeof *e);

	if (e)
		e->zstd = ZSTD_createCCtx();
	if (!e || !e->zstd) {
		free(e);
		return err_set(ERR_MEMORY, "no memory for an object encoder");
	}
	e->profile = *profile;
	ZSTD_CCtx_setParameter(e->zstd, ZSTD_c_compressionLevel, profile->zstd_level);
	ZSTD_CCtx_setParameter(e->zstd, ZSTD_c_contentSizeFlag, 1);
	ZSTD_CCtx_setParameter(e->zstd, ZSTD_c_checksumFlag, 0);
	buf_init(&e->packed, ZSTD_COMPRESSBOUND(OBJECT_OUTPUT_MAX));
	buf_init(&e->patch, DELTA_PATCH_MAX);
	buf_init(&e->patch_packed, ZSTD_COMPRESSBOUND(DELTA_PATCH_MAX));
	buf_init(&e->sealed, ZSTD_COMPRESSBOUND(OBJECT_OUTPUT_MAX) + SEAL_BYTES);
	*out = e;
	return ERR_OK;
}

void object_encoder_free(struct object_encoder *e)
{
	if (!e)
		return;
	ZSTD_freeCCtx(e->zstd);
	buf_fini(&e->packed);
	buf_fini(&e->patch);
	buf_fini(&e->patch_packed);
	delta_maker_free(e->maker);
	buf_fini(&e->sealed);
	free(e);
}

void object_encoder_key(struct object_encoder *e, const struct key32 *key)
{
	e->key = key;
}

static enum err compress(
	struct object_encoder *e, struct bytes plain, struct bytes prefix, struct buf *out)
{
	buf_clear(out);
	TRY(buf_reserve(out, ZSTD_compressBound(plain.size)));
	ZSTD_CCtx_reset(e->zstd, ZSTD_reset_session_only);
	if (prefix.size > 0 && ZSTD_isError(ZSTD_CCtx_refPrefix(e->zstd, prefix.data, prefix.size)))
		return err_set(ERR_MEMORY, "zstd refuses a prefix of %zu bytes", prefix.size);
	size_t n = ZSTD_compress2(e->zstd, out->data, out->cap, plain.data, plain.size);
	if (ZSTD_isError(n))
		return err_set(ERR_MEMORY, "zstd: %s", ZSTD_getErrorName(n));
	out->size = n;
	return ERR_OK;
}

// Compresses into e->packed; leaves it empty when that does not pay.
static enum err deflate(struct object_encoder *e, struct bytes plain)
{
	buf_clear(&e->packed);
	if (e->profile.zstd_level == 0)
		return ERR_OK;
	TRY(compress(e, plain, (struct bytes){0}, &e->packed));
	if (e->packed.size * 100 > plain.size * (size_t)e->profile.keep_percent)
		buf_clear(&e->packed);
	return ERR_OK;
}

// A sealed object is always compressed first: RAW means that a chunk's own hash is its address.
static enum err encode_sealed(
	struct object_encoder *e, struct bytes plain, struct object *o, struct bytes *transported)
{
	TRY(compress(e, plain, (struct bytes){0}, &e->packed));
	TRY(content_seal(e->key, buf_bytes(&e->packed), &e->sealed));
	*transported = buf_bytes(&e->sealed);
	*o = (struct object){.sha256 = sha256(e->sealed.data, e->sealed.size),
		.size_bytes = (uint32_t)e->sealed.size,
		.coding = CODING_ZSTD,
		.first_chunk = o->first_chunk,
		.chunk_count = o->chunk_count};
	return ERR_OK;
}

static void bases_forget(struct object *o)
{
	o->base_chunks = NULL;
	o->base_sizes = o->own_runs = NULL;
	o->base_count = o->base_size_count = o->own_run_count = 0;
}

enum err object_encode(struct object_encoder *e, const struct chunk_ref *run, struct bytes plain,
	struct object *o, struct bytes *transported)
{
	size_t total = 0;

	TRY(run_size(o, run, &total));
	assert(total == plain.size);
	if (e->key)
		return encode_sealed(e, plain, o, transported);
	TRY(deflate(e, plain));
	bool packed = e->packed.size > 0;
	*transported = packed ? buf_bytes(&e->packed) : plain;
	o->coding = packed ? CODING_ZSTD : CODING_RAW;
	o->size_bytes = (uint32_t)transported->size;
	if (!packed && o->chunk_count == 1)
		o->sha256 = run[0].sha256;
	else
		o->sha256 = sha256(transported->data, transported->size);
	bases_forget(o);
	return ERR_OK;
}

// A window that reaches over the base and the output.
#define DELTA_WINDOW_LOG 22

// False: the two have too little in common for a patch.
static enum err patch_pack(
	struct object_encoder *e, struct bytes plain, struct bytes prefix, bool *made)
{
	if (!e->maker)
		TRY(delta_maker_new(&e->maker));
	enum err failed = delta_make(e->maker, prefix, plain, &e->patch);
	*made = failed == ERR_OK;
	if (failed == ERR_FULL)
		return ERR_OK;
	TRY(failed);
	return compress(e, buf_bytes(&e->patch), (struct bytes){0}, &e->patch_packed);
}

// What naming the prefix costs in the index, about.
static size_t named_bytes(const struct object *o)
{
	return o->base_count * (sizeof(struct digest) + 5) + o->own_run_count * 2;
}

enum err object_encode_own(struct object_encoder *e, const struct chunk_ref *run,
	struct bytes plain, struct bytes prefix, struct object *o, struct bytes *transported)
{
	size_t total = 0;

	TRY(run_size(o, run, &total));
	assert(total == plain.size && prefix.size > 0 && prefix.size <= OBJECT_BASE_MAX);
	ZSTD_CCtx_setParameter(e->zstd, ZSTD_c_windowLog, DELTA_WINDOW_LOG);
	enum err packed = compress(e, plain, prefix, &e->packed);
	ZSTD_CCtx_setParameter(e->zstd, ZSTD_c_windowLog, 0);
	TRY(packed);
	if ((e->packed.size + named_bytes(o)) * 100 >
		plain.size * (size_t)e->profile.keep_percent) {
		bases_forget(o);
		return object_encode(e, run, plain, o, transported);
	}
	if (e->key)
		TRY(content_seal(e->key, buf_bytes(&e->packed), &e->sealed));
	*transported = buf_bytes(e->key ? &e->sealed : &e->packed);
	o->coding = CODING_ZSTD_PREFIX;
	o->size_bytes = (uint32_t)transported->size;
	o->sha256 = sha256(transported->data, transported->size);
	return ERR_OK;
}

enum err object_encode_delta(struct object_encoder *e, const struct chunk_ref *run,
	struct bytes plain, struct bytes prefix, struct object *o, struct bytes *transported)
{
	size_t total = 0;
	bool made = false;

	TRY(run_size(o, run, &total));
	assert(total == plain.size && prefix.size > 0 && prefix.size <= OBJECT_BASE_MAX);
	ZSTD_CCtx_setParameter(e->zstd, ZSTD_c_windowLog, DELTA_WINDOW_LOG);
	TRY(compress(e, plain, prefix, &e->packed));
	TRY(patch_pack(e, plain, prefix, &made));
	bool patch = made && e->patch_packed.size < e->packed.size;
	*transported = buf_bytes(patch ? &e->patch_packed : &e->packed);
	o->coding = patch ? CODING_BSDIFF_ZSTD : CODING_ZSTD_PREFIX;
	o->size_bytes = (uint32_t)transported->size;
	o->sha256 = sha256(transported->data, transported->size);
	return ERR_OK;
}

void object_to_index(struct object *o)
{
	if (o->coding != CODING_RAW || o->chunk_count != 1)
		return;
	memset(&o->sha256, 0, sizeof o->sha256);
	o->size_bytes = 0;
}
