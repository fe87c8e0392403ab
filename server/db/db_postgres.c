// PostgreSQL behind db.h, by libpq: one connection, one transaction a turn, parameters and results
// in binary.
//
//   write       -> prepared once (here its errors are seen), then only sent: its verdict comes with
//                  the next read, after PIPELINE_MAX of them, or with the commit
//   read        -> sent, and everything sent before is answered first
//   commit      -> synchronous_commit is on: it is on the disk when it returns
//
// Nothing waits for ever: the server ends statements and forgotten transactions, and an answer that
// does not come within ANSWER_MS counts as a lost connection. What is lost makes the turn fail
// (db_fail), so the core loads again; the first statement after that connects anew. A commit whose
// answer was lost may have been done or not: what is loaded then says so. It cannot be done later:
// one connection at a time holds the store's lock, and the lost one's server process is ended
// first.
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "server/db/db_engine.h"
#include "server/db/pg_dialect.h"
#include <endian.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PARAMETERS_MAX 32
#define PIPELINE_MAX 128   // statements sent without asking for their verdict
#define STATEMENT_MAX 8192 // characters of one
#define ANSWER_MS 15000    // the server gives up before (SESSION)
#define LOCK_WAIT_MS 1500  // a server process whose client was killed ends within that
#define LOCK_NAP_US 30000

#define SESSION                                                                                    \
	"SET statement_timeout = 10000; SET lock_timeout = 5000;"                                  \
	" SET idle_in_transaction_session_timeout = 5000; SET client_encoding = 'UTF8';"           \
	" SET synchronous_commit = on; SET standard_conforming_strings = on; SET jit = off;"       \
	" SET default_transaction_isolation = 'read committed'; SET client_min_messages = 'error'"

// Whoever stops within a turn keeps the others waiting no longer than this.
#define AMONG_OTHERS "SET idle_in_transaction_session_timeout = 1500"

enum {
	OID_BYTEA = 17,
	OID_INT8 = 20,
	OID_TEXT = 25,
	OID_FLOAT8 = 701
};

struct db_stmt {
	struct statement base;
	struct postgres_db *owner;
	char *text; // as PostgreSQL reads it
	char name[16];
	bool prepared, reads, sent;
	bool another; // is prepared under this name
	int count;
	Oid types[PARAMETERS_MAX], prepared_types[PARAMETERS_MAX];
	const char *values[PARAMETERS_MAX];
	int lengths[PARAMETERS_MAX];
	uint64_t numbers[PARAMETERS_MAX]; // in network order
	PGresult *result;
	int row;
};

struct postgres_db {
	struct db base;
	char *url;
	PGconn *conn; // NULL: lost
	bool shared;
	int former; // server process of the lost one; 0: none
	unsigned sent;
	struct db_stmt cache[STATEMENT_CACHE];
};

static struct postgres_db *postgres_of(struct db *db)
{
	return (struct postgres_db *)db;
}

// ---------------------------------------------------------------- errors

static const struct state_error {
	const char *state; // SQLSTATE, or its class
	enum err e;
} state_errors[] = {
	{"53100", ERR_NO_SPACE}, // the longer first
	{"53200", ERR_MEMORY},
	{"25006", ERR_READ_ONLY},
	{"23505", ERR_EXISTS},
	{"57014", ERR_TIMEOUT}, // statement_timeout
	{"55P03", ERR_TIMEOUT}, // lock_timeout
	{"25P03", ERR_CLOSED},  // idle in a transaction
	{"42501", ERR_DENIED},
	{"57P", ERR_CLOSED}, // shut down
	{"08", ERR_CLOSED},
	{"XX", ERR_CORRUPT},
};

static enum err state_error(const char *state)
{
	for (size_t i = 0; state && i < sizeof(state_errors) / sizeof(state_errors[0]); i++)
		if (strncmp(state, state_errors[i].state, strlen(state_errors[i].state)) == 0)
			return state_errors[i].e;
	return ERR_IO;
}

// libpq's sentences end with a new line, and may have several.
static int sentence_length(const char *s)
{
	return (int)strcspn(s, "\n");
}

static enum err result_error(const PGresult *r)
{
	const char *said = PQresultErrorMessage(r);

	return err_set(state_error(PQresultErrorField(r, PG_DIAG_SQLSTATE)), "database: %.*s",
		sentence_length(said), said);
}

// The turn fails, and nothing is asked again before it was given up.
static enum err connection_lost(struct postgres_db *pg, const char *why)
{
	enum err e = err_set(
		ERR_CLOSED, "database: the connection is lost: %.*s", sentence_length(why), why);

	pg->former = PQbackendPID(pg->conn);
	PQfinish(pg->conn);
	pg->conn = NULL;
	pg->sent = 0;
	for (size_t i = 0; i < STATEMENT_CACHE; i++)
		pg->cache[i].prepared = false;
	db_fail(&pg->base, e);
	return e;
}

// ---------------------------------------------------------------- sending and receiving

// Until an answer is here, or all was sent that can be.
static enum err answer_wait(struct postgres_db *pg, struct mono until)
{
	int more = PQflush(pg->conn);

	while (more >= 0 && (more > 0 || PQisBusy(pg->conn))) {
		struct pollfd p = {.fd = PQsocket(pg->conn), .events = POLLIN};
		int64_t left = mono_since_ms(until, clock_now().mono);

		if (more > 0)
			p.events |= POLLOUT;
		if (left <= 0)
			return connection_lost(pg, "no answer in time");
		if (poll(&p, 1, (int)left) > 0 && (p.revents & ~POLLOUT) &&
			!PQconsumeInput(pg->conn))
			return connection_lost(pg, PQerrorMessage(pg->conn));
		more = PQflush(pg->conn);
	}
	return more < 0 ? connection_lost(pg, PQerrorMessage(pg->conn)) : ERR_OK;
}

static struct mono answer_until(void)
{
	return mono_add_ms(clock_now().mono, ANSWER_MS);
}

// One result: the first error stays, the last good one is kept for who asked.
static void result_take(PGresult *r, enum err *first, PGresult **last)
{
	ExecStatusType status = PQresultStatus(r);

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
		PQclear(*last);
		*last = r;
		return;
	}
	if (status != PGRES_PIPELINE_ABORTED && *first == ERR_OK)
		*first = result_error(r);
	PQclear(r);
}

// Hears of everything that was sent. last: the result of the last of them, when all went well; may
// be NULL.
static enum err answers_take(struct postgres_db *pg, PGresult **last)
{
	struct mono until = answer_until();
	PGresult *kept = NULL;
	enum err first = ERR_OK, e = ERR_OK;
	bool over = false;

	if (!PQpipelineSync(pg->conn))
		return connection_lost(pg, PQerrorMessage(pg->conn));
	while (!over && (e = answer_wait(pg, until)) == ERR_OK) {
		PGresult *r = PQgetResult(pg->conn);

		if (PQstatus(pg->conn) != CONNECTION_OK) {
			e = connection_lost(
				pg, r ? PQresultErrorMessage(r) : PQerrorMessage(pg->conn));
			PQclear(r);
			break;
		}
		over = r && PQresultStatus(r) == PGRES_PIPELINE_SYNC;
		if (over)
			PQclear(r);
		else if (r)
			result_take(r, &first, &kept);
	}
	pg->sent = 0;
	e = e != ERR_OK ? e : first;
	if (e == ERR_OK && last) {
		*last = kept;
		return ERR_OK;
	}
	PQclear(kept);
	return e;
}

static enum err sent_check(struct postgres_db *pg, int good)
{
	if (!good)
		return connection_lost(pg, PQerrorMessage(pg->conn));
	pg->sent++;
	return ERR_OK;
}

// Without its verdict.
static enum err say(struct postgres_db *pg, const char *sql)
{
	return sent_check(pg, PQsendQueryParams(pg->conn, sql, 0, NULL, NULL, NULL, NULL, 1));
}

// One text in, texts out. *out is the caller's to clear.
static enum err ask(struct postgres_db *pg, const char *sql, const char *text, PGresult **out)
{
	*out = NULL;
	TRY(sent_check(pg, PQsendQueryParams(pg->conn, sql, text != NULL, NULL, text ? &text : NULL,
				   NULL, NULL, 0)));
	return answers_take(pg, out);
}

// Several statements at once, of which no row is read.
static enum err several_run(struct postgres_db *pg, const char *sql)
{
	struct mono until = answer_until();
	PGresult *last = NULL, *r = NULL;
	enum err first = ERR_OK;

	if (pg->sent)
		TRY(answers_take(pg, NULL));
	if (!PQexitPipelineMode(pg->conn) || !PQsendQuery(pg->conn, sql))
		return connection_lost(pg, PQerrorMessage(pg->conn));
	TRY(answer_wait(pg, until));
	while ((r = PQgetResult(pg->conn))) {
		result_take(r, &first, &last);
		enum err e = answer_wait(pg, until);
		if (e != ERR_OK) {
			PQclear(last);
			return e;
		}
	}
	PQclear(last);
	if (PQstatus(pg->conn) != CONNECTION_OK || !PQenterPipelineMode(pg->conn))
		return connection_lost(pg, PQerrorMessage(pg->conn));
	return first;
}

// ---------------------------------------------------------------- the connection

#define LOCK(kind)                                                                                 \
	"SELECT pg_try_advisory_lock" kind "(hashtext('heliod'),"                                  \
	" hashtext(coalesce(current_schema(), current_setting('search_path'))))"

// One server at a time has the store, or several that know of each other: the lock is the
// session's. The process that served our lost connection may not know yet that we are gone.
static enum err former_end(struct postgres_db *pg, bool *gone)
{
	PGresult *r = NULL;
	char former[16];

	*gone = true;
	if (!pg->former)
		return ERR_OK;
	(void)snprintf(former, sizeof(former), "%d", pg->former);
	TRY(ask(pg,
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1::int"
		" AND usename = current_user AND datname = current_database()",
		former, &r));
	*gone = PQntuples(r) == 0;
	PQclear(r);
	pg->former = *gone ? 0 : pg->former;
	return ERR_OK;
}

static enum err lock_try(struct postgres_db *pg, bool *got)
{
	PGresult *r = NULL;

	TRY(former_end(pg, got));
	if (!*got)
		return ERR_OK;
	TRY(ask(pg, pg->shared ? LOCK("_shared") : LOCK(""), NULL, &r));
	*got = PQntuples(r) == 1 && PQgetvalue(r, 0, 0)[0] == 't';
	PQclear(r);
	return ERR_OK;
}

static enum err store_lock(struct postgres_db *pg)
{
	struct mono until = mono_add_ms(clock_now().mono, LOCK_WAIT_MS);
	bool got = false;

	for (;;) {
		TRY(lock_try(pg, &got));
		if (got)
			return ERR_OK;
		if (mono_since_ms(until, clock_now().mono) <= 0)
			return err_set(
				ERR_EXISTS, "the store in PostgreSQL is used by another server");
		usleep(LOCK_NAP_US);
	}
}

static void notice_ignore(void *ctx, const char *message)
{
	(void)ctx;
	(void)message;
}

static enum err connection_start(struct postgres_db *pg)
{
	PQsetNoticeProcessor(pg->conn, notice_ignore, NULL);
	if (PQsetnonblocking(pg->conn, 1) != 0 || !PQenterPipelineMode(pg->conn))
		return err_set(ERR_IO, "database: %s", PQerrorMessage(pg->conn));
	TRY(several_run(pg, SESSION));
	if (pg->shared)
		TRY(several_run(pg, AMONG_OTHERS));
	return store_lock(pg);
}

// What the address says of these counts.
static enum err connect_now(struct postgres_db *pg)
{
	const char *const names[] = {"connect_timeout", "tcp_user_timeout", "keepalives_idle",
		"keepalives_interval", "keepalives_count", "fallback_application_name", "dbname",
		NULL};
	const char *const values[] = {"3", "10000", "5", "2", "3", "heliod", pg->url, NULL};

	pg->conn = PQconnectdbParams(names, values, 1);
	if (!pg->conn)
		return err_set(ERR_MEMORY, "no memory for the database");
	enum err e = ERR_OK;
	if (PQstatus(pg->conn) != CONNECTION_OK) {
		const char *said = PQerrorMessage(pg->conn);
		e = err_set(ERR_CLOSED, "database: %.*s", sentence_length(said), said);
	} else {
		e = connection_start(pg);
	}
	if (e != ERR_OK && pg->conn) {
		PQfinish(pg->conn);
		pg->conn = NULL;
	}
	pg->sent = 0;
	return e;
}

// A turn that lost its connection ends before another one is made.
static enum err connection_need(struct postgres_db *pg)
{
	if (pg->conn)
		return ERR_OK;
	if (pg->base.failed)
		return err_set(ERR_CLOSED, "database: the connection is lost");
	TRY(connect_now(pg));
	log_info("STORE-CONNECTED", "engine=postgresql");
	return ERR_OK;
}

// ---------------------------------------------------------------- statements

static enum err stmt_translate(struct postgres_db *pg, struct db_stmt *s)
{
	SCOPED_BUF struct buf text;
	PGresult *keys = NULL;
	char table[64];

	buf_init(&text, STATEMENT_MAX);
	TRY(pg_dialect_replaces(s->base.sql, table, sizeof(table)));
	if (table[0])
		TRY(ask(pg,
			"SELECT string_agg(a.attname, ' ') FROM pg_index i JOIN pg_attribute a"
			" ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)"
			" WHERE i.indrelid = to_regclass($1) AND i.indisprimary",
			table, &keys));
	enum err e = pg_dialect(s->base.sql, keys ? PQgetvalue(keys, 0, 0) : NULL, &text);
	PQclear(keys);
	TRY(e);
	s->text = strdup((const char *)text.data);
	return s->text ? ERR_OK : err_set(ERR_MEMORY, "no memory for a statement");
}

// The name is the place's: what was prepared under it goes when this is.
static enum err stmt_begin(struct postgres_db *pg, struct db_stmt *s, const char *sql)
{
	bool prepared = s->prepared;

	free(s->text);
	*s = (struct db_stmt){.owner = pg,
		.base.sql = sql,
		.reads = strncmp(sql, "SELECT", 6) == 0,
		.prepared = prepared,
		.another = prepared};
	(void)snprintf(s->name, sizeof(s->name), "s%zu", (size_t)(s - pg->cache));
	enum err e = stmt_translate(pg, s);
	if (e != ERR_OK)
		s->base.sql = NULL;
	return e;
}

static enum err postgres_prepare(struct db *db, const char *sql, struct db_stmt **out)
{
	struct postgres_db *pg = postgres_of(db);
	struct statement *place = NULL;

	TRY(connection_need(pg));
	TRY(statement_find(&pg->cache[0].base, sizeof(pg->cache[0]), sql, &place));
	*out = (struct db_stmt *)place;
	if (place->sql != sql)
		TRY(stmt_begin(pg, *out, sql));
	place->used = true;
	return ERR_OK;
}

static void bind_number(struct db_stmt *s, int at, Oid type, uint64_t bits)
{
	s->numbers[at] = htobe64(bits);
	s->types[at] = type;
	s->values[at] = (const char *)&s->numbers[at];
	s->lengths[at] = 8;
}

static enum err postgres_bind(struct db_stmt *s, int position, const struct db_value *v)
{
	int at = position - 1;
	uint64_t bits;

	if (at < 0 || at >= PARAMETERS_MAX)
		return err_set(ERR_RANGE, "a statement has at most %d parameters", PARAMETERS_MAX);
	s->types[at] = 0;
	s->values[at] = NULL;
	s->count = position > s->count ? position : s->count;
	switch (v->type) {
	case DB_NULL:
		break;
	case DB_INT:
		bind_number(s, at, OID_INT8, (uint64_t)v->i);
		break;
	case DB_REAL:
		memcpy(&bits, &v->r, sizeof(bits));
		bind_number(s, at, OID_FLOAT8, bits);
		break;
	case DB_TEXT:
		if (v->b.size && memchr(v->b.data, 0, v->b.size))
			return err_set(ERR_FORMAT, "a text with a NUL cannot be stored");
		s->types[at] = OID_TEXT;
		break;
	case DB_BLOB:
		s->types[at] = OID_BYTEA;
		break;
	}
	if (v->type == DB_TEXT || v->type == DB_BLOB) {
		s->values[at] = v->b.data ? (const char *)v->b.data : "";
		s->lengths[at] = (int)v->b.size;
	}
	return ERR_OK;
}

// What was prepared while a value was NULL has the type that PostgreSQL guessed.
static bool stmt_fits(const struct db_stmt *s)
{
	for (int i = 0; i < s->count; i++)
		if (s->types[i] && s->types[i] != s->prepared_types[i])
			return false;
	return s->prepared && !s->another;
}

// Its errors are seen here: a statement that is wrong is told at once.
static enum err stmt_make(struct postgres_db *pg, struct db_stmt *s)
{
	char drop[32];
	bool anew = s->prepared;

	for (int i = 0; i < s->count; i++)
		if (s->types[i] || !anew || s->another)
			s->prepared_types[i] = s->types[i];
	(void)snprintf(drop, sizeof(drop), "DEALLOCATE %s", s->name);
	s->prepared = s->another = false;
	if (anew)
		TRY(say(pg, drop));
	TRY(sent_check(pg, PQsendPrepare(pg->conn, s->name, s->text, s->count, s->prepared_types)));
	TRY(answers_take(pg, NULL));
	s->prepared = true;
	return ERR_OK;
}

static enum err stmt_run(struct db_stmt *s)
{
	static const int binary[PARAMETERS_MAX] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
		1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
	struct postgres_db *pg = s->owner;

	TRY(connection_need(pg));
	if (!stmt_fits(s))
		TRY(stmt_make(pg, s));
	TRY(sent_check(pg, PQsendQueryPrepared(
				   pg->conn, s->name, s->count, s->values, s->lengths, binary, 1)));
	s->sent = true;
	s->row = -1;
	if (s->reads)
		return answers_take(pg, &s->result);
	return pg->sent >= PIPELINE_MAX ? answers_take(pg, NULL) : ERR_OK;
}

static enum err postgres_step(struct db_stmt *s, bool *row)
{
	*row = false;
	if (!s->sent) {
		enum err e = stmt_run(s);
		if (e != ERR_OK) {
			db_fail(&s->owner->base, e);
			return e;
		}
	}
	*row = s->result && ++s->row < PQntuples(s->result);
	return ERR_OK;
}

static void postgres_reset(struct db_stmt *s)
{
	PQclear(s->result);
	s->result = NULL;
	s->sent = false;
	s->count = 0;
	s->base.used = false;
}

// ---------------------------------------------------------------- columns

static struct bytes postgres_column_bytes(struct db_stmt *s, int column)
{
	if (PQgetisnull(s->result, s->row, column))
		return bytes_of(NULL, 0);
	return bytes_of(PQgetvalue(s->result, s->row, column),
		(size_t)PQgetlength(s->result, s->row, column));
}

static int64_t postgres_column_int(struct db_stmt *s, int column)
{
	struct bytes b = postgres_column_bytes(s, column);
	uint64_t bits = b.size && (b.data[0] & 0x80) ? UINT64_MAX : 0;

	for (size_t i = 0; i < b.size && i < 8; i++)
		bits = bits << 8 | b.data[i];
	return (int64_t)bits;
}

static double postgres_column_real(struct db_stmt *s, int column)
{
	uint64_t bits = (uint64_t)postgres_column_int(s, column);
	double r;

	if (PQftype(s->result, column) != OID_FLOAT8)
		return (double)(int64_t)bits;
	memcpy(&r, &bits, sizeof(r));
	return r;
}

// ---------------------------------------------------------------- the transaction

static enum err postgres_begin(struct db *db)
{
	struct postgres_db *pg = postgres_of(db);

	TRY(connection_need(pg));
	return say(pg, "BEGIN");
}

static enum err postgres_commit(struct db *db)
{
	struct postgres_db *pg = postgres_of(db);
	PGresult *r = NULL;

	TRY(connection_need(pg));
	TRY(say(pg, "COMMIT"));
	TRY(answers_take(pg, &r));
	bool done = r && strcmp(PQcmdStatus(r), "COMMIT") == 0;
	PQclear(r);
	return done ? ERR_OK : err_set(ERR_IO, "database: the transaction had failed");
}

static void postgres_rollback(struct db *db)
{
	struct postgres_db *pg = postgres_of(db);

	if (!pg->conn || say(pg, "ROLLBACK") != ERR_OK)
		return;
	// What was said before and failed keeps the rest of it from being read.
	if (answers_take(pg, NULL) != ERR_OK && pg->conn && say(pg, "ROLLBACK") == ERR_OK)
		(void)answers_take(pg, NULL);
}

static enum err postgres_exec(struct db *db, const char *sql)
{
	struct postgres_db *pg = postgres_of(db);
	SCOPED_BUF struct buf text;

	buf_init(&text, 64 * STATEMENT_MAX);
	TRY(pg_dialect(sql, NULL, &text));
	TRY(connection_need(pg));
	return several_run(pg, (const char *)text.data);
}

static enum err postgres_backup(struct db *db, const char *path)
{
	(void)db;
	(void)path;
	return err_set(ERR_UNSUPPORTED,
		"a store in PostgreSQL is saved by pg_dump --exclude-table-data=session");
}

static void postgres_close(struct db *db)
{
	struct postgres_db *pg = postgres_of(db);

	for (size_t i = 0; i < STATEMENT_CACHE; i++) {
		PQclear(pg->cache[i].result);
		free(pg->cache[i].text);
	}
	PQfinish(pg->conn);
	if (pg->url)
		secret_wipe(pg->url, strlen(pg->url));
	free(pg->url);
	free(pg);
}

static const struct db_engine postgres_engine = {
	.name = "postgresql",
	.shared = true,
	.begin = postgres_begin,
	.commit = postgres_commit,
	.rollback = postgres_rollback,
	.prepare = postgres_prepare,
	.bind = postgres_bind,
	.step = postgres_step,
	.reset = postgres_reset,
	.column_int = postgres_column_int,
	.column_real = postgres_column_real,
	.column_bytes = postgres_column_bytes,
	.exec = postgres_exec,
	.backup = postgres_backup,
	.close = postgres_close,
};

enum err db_postgres_open(const char *url, bool shared, struct db **out)
{
	*out = NULL;
	struct postgres_db *pg = calloc(1, sizeof(*pg));
	if (!pg)
		return err_set(ERR_MEMORY, "no memory for the database");
	pg->base.engine = &postgres_engine;
	pg->shared = shared;
	pg->url = strdup(url);
	enum err e = pg->url ? connect_now(pg) : err_set(ERR_MEMORY, "no memory for the database");
	if (e != ERR_OK) {
		postgres_close(&pg->base);
		return e;
	}
	*out = &pg->base;
	return ERR_OK;
}
