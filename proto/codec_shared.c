// Parts that stand in several messages.
#include "proto/codec.h"
#include "proto/message.h"

#include "helio.pb-c.h"
#include <arpa/inet.h>
#include <string.h>

static const struct codec_row reason_rows[] = {
	ROW_ENUM(reason, code, reason_code, REASON_TURN),
	ROW_TEXT(reason, text, LIMIT_TEXT, 0),
};
CODEC_TABLE(reason, reason)

// A name, a literal, or both: discovery tries them in this order.
static enum err address_check(const struct codec_path *path, const void *message)
{
	const struct address *m = message;
	bool host = m->host && m->host[0], ip = m->ip && m->ip[0];
	struct in6_addr parsed;

	if (!host && !ip)
		return codec_refuse(path, NULL, ERR_RANGE, "has neither host nor ip");
	if (ip && inet_pton(AF_INET, m->ip, &parsed) != 1 &&
		inet_pton(AF_INET6, m->ip, &parsed) != 1)
		return codec_refuse(path, "ip", ERR_RANGE, "is no address");
	return ERR_OK;
}

static const struct codec_row address_rows[] = {
	ROW_ID(address, broker_id, 0),
	ROW_TEXT(address, host, 253, 0),
	ROW_TEXT(address, ip, INET6_ADDRSTRLEN - 1, 0),
	ROW_U32(address, port, 1, 65535),
	ROW_BOOL(address, tls),
	ROW_TEXT(address, topic, LIMIT_TOPIC - 1, 0),
};
CODEC_TABLE(address, address, .check = address_check)

// A next key comes with the proof that its owner asks for it.
static enum err sign_in_check(const struct codec_path *path, const void *message)
{
	static const struct proof64 none;
	const struct sign_in *m = message;
	bool proven = memcmp(&m->next_proof, &none, sizeof(none)) != 0;

	if (proven == (memcmp(m->next_key.b, none.b, sizeof(m->next_key.b)) == 0))
		return codec_refuse(path, "next_proof", ERR_RANGE, "does not go with next_key");
	return ERR_OK;
}

static const struct codec_row sealed_key_rows[] = {
	ROW_FIXED(sealed_key, key_id, CODEC_REQUIRED),
	ROW_FIXED(sealed_key, share, 0),
	ROW_FIXED(sealed_key, nonce, 0),
	ROW_FIXED(sealed_key, sealed, CODEC_REQUIRED),
};
CODEC_TABLE(sealed_key, sealed_key)

static const struct codec_row sign_in_rows[] = {
	ROW_FIXED(sign_in, public_key, CODEC_REQUIRED),
	ROW_FIXED(sign_in, nonce, CODEC_REQUIRED),
	ROW_FIXED(sign_in, x25519_share, CODEC_REQUIRED),
	ROW_FIXED(sign_in, store_id, CODEC_REQUIRED),
	ROW_COUNTER(sign_in, boot_counter, 0),
	ROW_FIXED(sign_in, lineage, 0),
	ROW_FIXED(sign_in, next_key, 0),
	ROW_FIXED(sign_in, next_proof, 0),
};
CODEC_TABLE(sign_in, sign_in, .check = sign_in_check)

static const struct codec_row software_version_rows[] = {
	ROW_TEXT(software_version, name, LIMIT_ID, CODEC_REQUIRED),
	ROW_TEXT(software_version, version, CODEC_VERSION_MAX, 0),
	ROW_FIXED(software_version, package, 0),
};
CODEC_TABLE(software_version, software_version)

static const struct codec_row holding_rows[] = {
	ROW_FIXED(holding, package, CODEC_REQUIRED),
	ROW_U64(holding, lease, 0, UINT64_MAX),
	ROW_BOOL(holding, complete),
	ROW_U32(holding, chunks_have, 0, UINT32_MAX),
	ROW_U32(holding, chunks_total, 0, UINT32_MAX),
	ROW_U32(holding, looked_mb, 0, UINT32_MAX),
};
CODEC_TABLE(holding, holding)

static const struct codec_row holdings_rows[] = {
	ROW_BOOL(holdings, full),
	ROW_MESSAGES(holdings, items, item_count, holding, LIMIT_HOLDINGS, 0),
};
CODEC_TABLE(holdings, holdings)

static const struct codec_row change_rows[] = {
	ROW_COUNTER(change, change_id, 0),
	ROW_TEXT(change, key, CODEC_KEY_MAX, CODEC_REQUIRED),
	ROW_TEXT(change, value, LIMIT_TEXT, 0),
};
CODEC_TABLE(change, change)

static const struct codec_row execute_command_rows[] = {
	ROW_ID(execute_command, verb, CODEC_REQUIRED),
	ROW_TEXTS(execute_command, args, arg_count, LIMIT_ARGS, CODEC_ARG_MAX),
	ROW_U32(execute_command, timeout_ms, 0, UINT32_MAX),
	ROW_TIME(execute_command, expires_unix_ms),
	ROW_U32(execute_command, max_output_bytes, 0, UINT32_MAX),
};
CODEC_TABLE(execute_command, execute_command)

enum err codec_check_sign_in(
	const struct codec_path *path, uint64_t session_id, const struct sign_in *sign_in)
{
	if (session_id == 0 && !sign_in)
		return codec_refuse(path, "sign_in", ERR_RANGE, "is missing in session 0");
	if (session_id != 0 && sign_in)
		return codec_refuse(path, "sign_in", ERR_RANGE, "stands inside session %llu",
			(unsigned long long)session_id);
	return ERR_OK;
}

enum err codec_check_part(const struct codec_path *path, uint32_t part, uint32_t parts)
{
	if (part >= parts)
		return codec_refuse(path, "part", ERR_RANGE, "is %u of %u", part, parts);
	return ERR_OK;
}

enum err codec_check_ip(const struct codec_path *path, struct bytes ip)
{
	if (ip.size != 0 && ip.size != 4 && ip.size != 16)
		return codec_refuse(
			path, "ip_address", ERR_RANGE, "has %zu bytes, not 4 or 16", ip.size);
	return ERR_OK;
}

enum err codec_check_fit(const struct codec_path *path, const char *fit)
{
	static const char *const words[] = {"", "fit", "fill", "stretch", "center"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(fit ? fit : "", words[i]) == 0)
			return ERR_OK;
	}
	return codec_refuse(path, "fit", ERR_RANGE, "is none of fit, fill, stretch, center");
}

enum err codec_check_order(const struct codec_path *path, const char *order)
{
	static const char *const words[] = {"", "list", "shuffle", "weight", "newest"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(order ? order : "", words[i]) == 0)
			return ERR_OK;
	}
	return codec_refuse(path, "order", ERR_RANGE, "is none of list, shuffle, weight, newest");
}

enum err codec_check_validity(
	const struct codec_path *path, int64_t from_unix_ms, int64_t until_unix_ms)
{
	if (until_unix_ms != 0 && until_unix_ms <= from_unix_ms)
		return codec_refuse(path, "until_unix_ms", ERR_RANGE, "is not after from_unix_ms");
	return ERR_OK;
}

enum err codec_check_time_zone(const struct codec_path *path, const char *zone)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/";

	if (!zone || !zone[0])
		return ERR_OK;
	if (zone[0] == '/' || zone[strspn(zone, letters)] != '\0')
		return codec_refuse(path, "time_zone", ERR_RANGE, "is no name of a time zone");
	return ERR_OK;
}
