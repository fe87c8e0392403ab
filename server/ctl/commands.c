// The table of commands. --help, completion and the parser read it; a test holds it complete.
#include "server/ctl/ctl.h"

#include "proto/limits.h"

#define WAIT                                                                                       \
	{                                                                                          \
		"wait", NULL, "until every client is done (limit: --timeout, else 10 min)"         \
	}
#define CA                                                                                         \
	{                                                                                          \
		"ca", "DIR", "folder of the authority (else [ca] dir)"                             \
	}
#define UNTIL                                                                                      \
	{                                                                                          \
		"until", "DAY", "last day of the certificate (2099-12-31)"                         \
	}

static const struct option_row ca_init_options[] = {{"fleet", "NAME", "name of the fleet"}, UNTIL};
static const struct option_row ca_revoke_options[] = {CA};
static const struct option_row enrol_options[] = {CA,
	{"dns", "NAME", "broker: a name clients reach it by (may be repeated)"},
	{"ip", "ADDRESS", "broker: an address clients reach it by (may be repeated)"},
	{"name", "TEXT", "label for people"}, UNTIL,
	{"public-key", "HEX", "identity key made on the device, with --csr"},
	{"box-key", "HEX",
		"X25519 key made on the device, for encrypted packages on media; alone: for a "
		"client that was enrolled without one"},
	{"csr", "FILE", "certificate request made on the device"}};
#define IMAGE_DETAILS                                                                              \
	{"license", "TEXT", "whose picture it is"}, {"licence", "TEXT", "the same"},               \
		{"weight", "N", "0 to 1000: how often it is shown against others"},                \
		{"released", "DAY", "not shown before this day; none: at once"},                   \
	{                                                                                          \
		"expires", "DAY", "not shown from this day on; none: never"                        \
	}
static const struct option_row image_add_options[] = {
	{"tag", "TAG", "tag of the pictures (may be repeated)"},
	{"title", "TEXT", "title (else the file's name)"}, IMAGE_DETAILS,
	{"recursive", NULL, "folders below a folder too"}};
static const struct option_row image_list_options[] = {{"tag", "TAG", "only with this tag"},
	{"where", "EXPRESSION", "only those it holds for: \"sea and width >= 1920\""},
	{"retired", NULL, "those that are retired"}};
static const struct option_row image_set_options[] = {{"title", "TEXT", "title"},
	{"tag", "TAG", "all its tags from now on (may be repeated)"},
	{"add-tag", "TAG", "one more (may be repeated)"},
	{"remove-tag", "TAG", "one less (may be repeated)"}, IMAGE_DETAILS};
static const struct option_row image_gc_options[] = {
	{"dry-run", NULL, "say what would go, and touch nothing"},
	{"older-than", "DAYS", "retired for so long (7)"}};
static const struct option_row image_thumb_options[] = {
	{"side", "PIXELS", "its longer side, 16 to 1024 (256)"}};
static const struct option_row package_build_options[] = {
	{"name", "NAME", "name of the package, when not given first"},
	{"version", "VERSION", "its version, when not given second"},
	{"image", "ID", "a picture, in order of showing (may be repeated)"},
	{"tag", "TAG", "all pictures with this tag (may be repeated: all must match)"},
	{"software", "PATH", "a file or a folder"},
	{"duration", "MS", "how long each picture is shown"},
	{"transition", "MS", "length of the cross-fade"},
	{"fit", "MODE", "fit, fill, stretch or center"},
	{"hw-class", "WORD", "only for devices of this class"},
	{"product", "WORD", "only for this product"},
	{"min-agent", "VERSION", "oldest agent that may install it"},
	{"profile", "WORD", "fast (default), or small: slowly, least bytes for a first install"},
	{"security-counter", "N", "never install a lower one afterwards"},
	{"read-all", NULL, "read also the files whose times say that they did not change"}, CA,
	{"key", "FILE", "sign with this key instead (may be repeated)"},
	{"customer", "NAME", "sealed with this customer's key, when it has one"},
	{"no-sign", NULL, "leave it unsigned"}};
static const struct option_row package_list_options[] = {{"kind", "KIND", "images or software"},
	{"state", "STATE", "only in this state"},
	{"store", NULL, "what the publisher holds, published or not"}};
static const struct option_row package_publish_options[] = {
	{"wait", NULL, "until a data broker holds it (limit: --timeout, else 10 min)"}};
#define SPAN                                                                                       \
	{"customer", "ID", "only of this customer's clients"},                                     \
		{"since", "MOMENT",                                                                \
			"from here on: 2026-11-21, 2026-11-21T12:00 (UTC) or unix ms"},            \
	{                                                                                          \
		"until", "MOMENT", "before"                                                        \
	}
static const struct option_row usage_options[] = {
	{"by", "WORD", "a sum for each picture, client, customer, hour, package or its name"}, SPAN,
	{"after", "KEY", "go on behind this one"}};
static const struct option_row usage_export_options[] = {{"csv", NULL, "as CSV (RFC 4180)"},
	{"client", "ID", "only of this client"}, SPAN, {"out", "FILE", "into this file"}};
static const struct option_row media_list_options[] = {{"client", "ID", "only to this client"},
	{"state", "STATE", "pending, recorded, posted, arrived, cancelled or superseded"}};
#define EDIT                                                                                       \
	{"revision", "N", "edit this one (else the one that stands)"},                             \
	{                                                                                          \
		"dry-run", NULL, "write nothing; show what would follow"                           \
	}
static const struct option_row customer_options[] = {{"name", "TEXT", "for people"},
	{"publisher", "ID", "who makes its packages (else the only one)"},
	{"time-zone", "ZONE", "of its hours, as Europe/Athens"},
	{"order", "WORD", "in which pictures are shown: list, shuffle or weight"},
	{"seed", "N", "of shuffle"}, {"duration", "MS", "how long each picture is shown"},
	{"transition", "MS", "length of the cross-fade"},
	{"fit", "MODE", "fit, fill, stretch or center"},
	{"background", "RRGGBB", "behind pictures"},
	{"max-images", "N", "of a package; 0: no limit"},
	{"max-bytes", "N", "of a package; 0: no limit"}, EDIT};
static const struct option_row plan_options[] = {
	{"expression", "TEXT", "tags with and, or, not; an empty one matches nothing"},
	{"min-size", "WxH", "least resolution of its pictures, or auto"},
	{"max-images", "N", "at most so many; 0: all"},
	{"max-bytes", "N", "at most so much; 0: all"},
	{"order", "WORD", "which come first: list, shuffle, weight or newest"},
	{"seed", "N", "of shuffle"},
	{"duration", "MS", "how long each is shown; 0: the customer's"},
	{"fit", "MODE", "fit, fill, stretch or center"}, {"weight", "N", "share of showings"},
	{"from", "DAY", "first day (UTC), or always"},
	{"until", "DAY", "day after the last, or always"},
	{"dayparts", "TEXT", "\"mon-fri 08:00-18:00; sat 10:00-16:00\"; empty: always"},
	{"places", "PLACE,...", "only there; empty: everywhere"},
	{"orientation", "WORD", "only on screens that stand so: landscape, portrait or square"},
	{"pause", NULL, "keep it and show nothing of it"}, {"resume", NULL, "show it again"}, EDIT};
static const struct option_row place_options[] = {{"name", "TEXT", "for people"},
	{"address", "TEXT", "for the post"},
	{"time-zone", "ZONE", "its own; empty: the customer's"}, EDIT};
static const struct option_row customer_client_options[] = {{"place", "PLACE", "where it stands"},
	{"name", "TEXT", "for people"}, {"screen", "WxH", "its pixels, or auto: as it reports"},
	{"orientation", "WORD", "how it hangs: landscape or portrait"}, EDIT};
static const struct option_row edit_options[] = {EDIT};
static const struct option_row media_record_options[] = {
	{"to", "DIR", "onto a stick: the folder where it is mounted"},
	{"iso", "FILE", "into an image"},
	{"client", "ID", "all that is recorded for this client (may be repeated)"}};
static const struct option_row wait_options[] = {WAIT};
static const struct option_row channel_publish_options[] = {WAIT,
	{"no-activate", NULL, "install it, but do not switch to it"},
	{"at", "MOMENT", "fetch it now, and switch to it not before this moment"}};
static const struct option_row media_order_options[] = {
	{"package", "PACKAGE", "what; else all that it is to have and does not hold"},
	{"at", "MOMENT", "not shown before: 2026-11-21T12:00 (UTC) or unix ms"}};
static const struct option_row channel_rollback_options[] = {
	WAIT, {"kind", "KIND", "images or software"}};
static const struct option_row client_list_options[] = {{"channel", "ID", "only of this channel"},
	{"role", "ROLE", "client, publisher or operator"}};
static const struct option_row ask_options[] = {WAIT,
	{"since", "UNIX_MS", "usage and logs from here on"}, {"max-bytes", "N", "at most so much"},
	{"unit", "NAME", "logs: of this unit"}, {"pattern", "TEXT", "logs: lines that hold this"},
	{"lines", "N", "logs: at most so many lines"},
	{"max-age", "S", "an answer that is no older will do"},
	{"to", "BROKER", "the answer goes to this data broker"},
	{"out", "FILE", "with --wait: logs or screenshot into this file"}};
static const struct option_row report_options[] = {
	{"out", "FILE", "logs or screenshot into this file"}};
static const struct option_row output_options[] = {{"out", "FILE", "into this file"}};
static const struct option_row exec_options[] = {WAIT,
	{"output", NULL, "with --wait: all that its program said"},
	{"out", "FILE", "with --output: into this file"},
	{"channel", "ID", "every client of a channel instead of one"},
	{"run-timeout", "MS", "how long it may run (60000)"},
	{"max-output", "BYTES", "at most so much output is kept"},
	{"expires", "SECONDS", "not begun any more after so long"},
	{"reference", "BROKER/PUBLISHER/SHA256", "a signed command that lies there already"},
	{"by-reference", NULL, "sign it; the client fetches it from a data broker"},
	{"ca", "DIR", "with --by-reference: where keys/software.key lies"}};
static const struct option_row leases_options[] = {{"broker", "ID", "only from this data broker"},
	{"client", "CLIENT", "only of this client"},
	{"site", "CUSTOMER/PLACE", "only at this site"}};
static const struct option_row budget_options[] = {
	{"fetches", "N", "transfers at once, of a broker; 0: no limit"}};
static const struct option_row interval_options[] = {
	WAIT, {"operation", NULL, "as an operation that the client acknowledges"}};
static const struct option_row status_options[] = {{"channel", "ID", "only of this channel"},
	{"reach", "WORD", "never, online, late or silent"}};
static const struct option_row queue_options[] = {
	{"check", NULL, "look whether every pointer shows an element"}};
static const struct option_row max_options[] = {{"max", "N", "at most so many rows"}};
static const struct option_row watch_options[] = {{"channel", "ID", "only of this channel"},
	{"every", "SECONDS", "redraw at least so often (2)"}};
static const struct option_row decode_options[] = {{"all", NULL, "every element of long lists"},
	{"verify", "ROOT", "root.bin: say whether signatures hold"},
	{"root-key", "FILE", "root.pub (else beside ROOT)"}};
static const struct option_row replay_options[] = {
	{"set", "KEY=VALUE", "what is changed of [server] (may be repeated)"},
	{"was", "KEY=VALUE", "what was in force, where it was not the default (may be repeated)"}};
static const struct option_row doctor_options[] = {{"local", NULL, "do not ask the server"}};
static const struct option_row broker_conf_options[] = {
	{"out", "DIR", "mosquitto.conf and acl go here"},
	{"list", NULL, "show the variables, their defaults and meanings"},
	{"templates", "DIR", "broker-conf folder instead of what is built in"}};

#define OPTIONS(rows) rows, CTL_COUNT(rows)
#define NO_OPTIONS NULL, 0
#define MANY ARGS_MAX

const struct command ctl_commands[] = {
	{"status", "[CLIENT]", "the fleet: who is there, and what it does", NEED_SETTINGS, 0, 1,
		OPTIONS(status_options), cmd_status, NULL},
	{"watch", "[--channel ID]", "the fleet, redrawn in place", NEED_SETTINGS, 0, 0,
		OPTIONS(watch_options), cmd_watch,
		"Without a terminal, or with --json, it prints one line for each change."},
	{"why", "CLIENT", "why a client got the answers it got", NEED_SETTINGS, 1, 1,
		OPTIONS(max_options), cmd_why, NULL},
	{"doctor", "", "what is wrong, and the line that mends it", NEED_SETTINGS, 0, 0,
		OPTIONS(doctor_options), cmd_doctor, NULL},
	{"queue", "CHANNEL|@CLIENT", "a queue, and where the clients stand in it", NEED_SETTINGS, 1,
		1, OPTIONS(queue_options), cmd_queue, NULL},
	{"consolidate", "CHANNEL", "join runs of display events now", NEED_SETTINGS, 1, 1,
		NO_OPTIONS, cmd_consolidate, NULL},
	{"brokers", "", "data brokers: load, what lies there and why, who fetches it and how fast",
		NEED_SETTINGS, 0, 0, NO_OPTIONS, cmd_brokers, NULL},
	{"servers", "", "who answers which shards, who leads", NEED_SETTINGS, 0, 0, NO_OPTIONS,
		cmd_servers, NULL},
	{"leases", "", "every transfer: granted, measured, how far", NEED_SETTINGS, 0, 0,
		OPTIONS(leases_options), cmd_leases, NULL},
	{"budget list", "[KIND]", "what may leave a broker, go to a site, to a client",
		NEED_SETTINGS, 0, 1, NO_OPTIONS, cmd_budget_list, NULL},
	{"budget set", "KIND NAME BYTES_PER_S", "from now on; 0: no limit", NEED_SETTINGS, 3, 3,
		OPTIONS(budget_options), cmd_budget_set,
		"KIND is broker, site or client; NAME its id, CUSTOMER/PLACE of a site, or * for "
		"each that has none of its own."},
	{"budget unset", "KIND NAME", "what the settings say counts again", NEED_SETTINGS, 2, 2,
		NO_OPTIONS, cmd_budget_unset, NULL},
	{"operations", "CLIENT", "what a client was told to do, and how it ended", NEED_SETTINGS, 1,
		1, OPTIONS(max_options), cmd_operations, NULL},
	{"flow", "FLOW [--wait]", "one act of an operator, at every client", NEED_SETTINGS, 1, 1,
		OPTIONS(wait_options), cmd_flow, NULL},
	{"channel create", "CHANNEL", "make a channel", NEED_SETTINGS, 1, 1, NO_OPTIONS,
		cmd_channel_create, NULL},
	{"channel list", "", "channels and what they want", NEED_SETTINGS, 0, 0, NO_OPTIONS,
		cmd_channel_list, NULL},
	{"channel publish", "CHANNEL PACKAGE [--wait]", "every client of a channel gets a package",
		NEED_SETTINGS, 2, 2, OPTIONS(channel_publish_options), cmd_channel_publish,
		"PACKAGE is NAME@VERSION, NAME, or the id or its first 8 digits."},
	{"channel rollback", "CHANNEL [NAME] [--wait]", "back to the version before", NEED_SETTINGS,
		1, 2, OPTIONS(channel_rollback_options), cmd_channel_rollback, NULL},
	{"channel pause", "CHANNEL", "begin no new fetch", NEED_SETTINGS, 1, 1,
		OPTIONS(wait_options), cmd_channel_pause, NULL},
	{"channel resume", "CHANNEL", "go on", NEED_SETTINGS, 1, 1, OPTIONS(wait_options),
		cmd_channel_resume, NULL},
	{"channel rate", "CHANNEL BYTES_PER_S", "limit each client's rate; 0: no limit",
		NEED_SETTINGS, 2, 2, OPTIONS(wait_options), cmd_channel_rate, NULL},
	{"channel close", "CHANNEL", "take nothing more; `channel resume` opens it again",
		NEED_SETTINGS, 1, 1, OPTIONS(wait_options), cmd_channel_close, NULL},
	{"channel weight", "CHANNEL WEIGHT",
		"0 to 1000: of a client's channels the heaviest counts", NEED_SETTINGS, 2, 2,
		NO_OPTIONS, cmd_channel_weight, NULL},
	{"client list", "", "clients, publishers, operators", NEED_SETTINGS, 0, 0,
		OPTIONS(client_list_options), cmd_client_list, NULL},
	{"client show", "CLIENT", "everything about one client", NEED_SETTINGS, 1, 1, NO_OPTIONS,
		cmd_client_show, NULL},
	{"client add", "FILE|ID", "make a client known to the server", NEED_SETTINGS, 1, 1,
		NO_OPTIONS, cmd_client_add, NULL},
	{"client channel", "CLIENT CHANNEL[,CHANNEL...]", "move a client to a channel, or several",
		NEED_SETTINGS, 2, 2, NO_OPTIONS, cmd_client_channel, NULL},
	{"client revoke", "CLIENT", "accept nothing of it any more", NEED_SETTINGS, 1, 1,
		NO_OPTIONS, cmd_client_revoke, NULL},
	{"client remove", "CLIENT", "forget it", NEED_SETTINGS, 1, 1, NO_OPTIONS, cmd_client_remove,
		NULL},
	{"client accept", "CLIENT", "it is no clone", NEED_SETTINGS, 1, 1, NO_OPTIONS,
		cmd_client_accept, NULL},
	{"ask", "CLIENT WHAT [--wait]", "ask a client for information", NEED_SETTINGS, 2, 2,
		OPTIONS(ask_options), cmd_ask,
		"WHAT is display, usage, holdings, software, logs or screenshot."},
	{"reports", "CLIENT [WHAT]", "the last answer of a client", NEED_SETTINGS, 1, 2,
		OPTIONS(report_options), cmd_reports, NULL},
	{"output", "CLIENT OPERATION", "all that the program of a command said", NEED_SETTINGS, 2,
		2, OPTIONS(output_options), cmd_output,
		"The client keeps it of its last few operations, each up to a limit of its "
		"settings."},
	{"freshness", "[WHAT [SECONDS|settings]]", "how old an answer may be", NEED_SETTINGS, 0, 2,
		NO_OPTIONS, cmd_freshness,
		"The server asks for what is older, of its own accord, once in that time; 0: "
		"never.\n"
		"ask answers from the copy while it is no older."},
	{"exec", "CLIENT VERB [ARG...] [--wait]", "tell a client to do something", NEED_SETTINGS, 1,
		LIMIT_ARGS + 2, OPTIONS(exec_options), cmd_exec,
		"Verbs are the agent's closed list; nothing is given to a shell. An ARG that "
		"begins with a dash\n"
		"comes after --. With --by-reference the command is signed here with the software "
		"key, "
		"laid on a data\n"
		"broker by the publisher, and fetched, verified and run once by each client."},
	{"command withdraw", "FLOW|BROKER/PUBLISHER/SHA256", "take a signed command back",
		NEED_SETTINGS, 1, 1, NO_OPTIONS, cmd_command_withdraw,
		"Who was not told of it will not be; who was told gives it up; and it is taken off "
		"its data broker."},
	{"cancel", "CLIENT [OPERATION]", "end what a client is at", NEED_SETTINGS, 1, 2,
		OPTIONS(wait_options), cmd_cancel, NULL},
	{"interval", "CLIENT MS", "set a client's heartbeat interval; 0: the policy's",
		NEED_SETTINGS, 2, 2, OPTIONS(interval_options), cmd_interval, NULL},
	{"silence release", "", "the clients that fell silent at once are gone indeed",
		NEED_SETTINGS, 0, 0, NO_OPTIONS, cmd_silence_release,
		"When many fall silent at once, what follows from silence waits until they are "
		"heard again,\nor for this."},
	{"image add", "FILE|FOLDER...", "put pictures into the store", NEED_SETTINGS, 1, MANY,
		OPTIONS(image_add_options), cmd_image_add,
		"A file that was added before is known by its digest: an import that was cut goes "
		"on where it was.\n"
		"A picture that is refused does not stop the others."},
	{"image list", "", "pictures in the store", NEED_SETTINGS, 0, 0,
		OPTIONS(image_list_options), cmd_image_list, NULL},
	{"image set", "IMAGE", "edit what is said of a picture", NEED_SETTINGS, 1, 1,
		OPTIONS(image_set_options), cmd_image_set, NULL},
	{"image retire", "IMAGE", "put it into no new package", NEED_SETTINGS, 1, 1, NO_OPTIONS,
		cmd_image_retire, NULL},
	{"image restore", "IMAGE", "take back what was retired", NEED_SETTINGS, 1, 1, NO_OPTIONS,
		cmd_image_restore, NULL},
	{"image gc", "[--dry-run]", "remove for good what is retired and in no package",
		NEED_SETTINGS, 0, 0, OPTIONS(image_gc_options), cmd_image_gc, NULL},
	{"image thumb", "IMAGE > FILE", "a small copy of a picture", NEED_SETTINGS, 1, 1,
		OPTIONS(image_thumb_options), cmd_image_thumb, NULL},
	{"image why", "IMAGE [CLIENT|ORDER]", "why a picture is in a package, or is not",
		NEED_SETTINGS, 1, 2, NO_OPTIONS, cmd_image_why, NULL},
	{"image remove", "IMAGE", "take a picture out of the store", NEED_SETTINGS, 1, 1,
		NO_OPTIONS, cmd_image_remove, NULL},
	{"package build", "NAME VERSION (--image ID... | --tag TAG... | --software PATH)",
		"build a package and sign it", NEED_SETTINGS, 0, 2, OPTIONS(package_build_options),
		cmd_package_build, NULL},
	{"package orders", "", "what the server ordered, and what became of it", NEED_SETTINGS, 0,
		0, NO_OPTIONS, cmd_package_orders, NULL},
	{"package list", "", "packages the server knows, and where they lie", NEED_SETTINGS, 0, 0,
		OPTIONS(package_list_options), cmd_package_list, NULL},
	{"package show", "PACKAGE", "everything about one package", NEED_SETTINGS, 1, 1, NO_OPTIONS,
		cmd_package_show, NULL},
	{"package publish", "PACKAGE [--wait]", "offer a package to the server", NEED_SETTINGS, 1,
		1, OPTIONS(package_publish_options), cmd_package_publish, NULL},
	{"package withdraw", "PACKAGE", "take a package off the brokers", NEED_SETTINGS, 1, 1,
		NO_OPTIONS, cmd_package_withdraw, NULL},
	{"usage export", "--csv|--json", "each showing, for other programs", NEED_SETTINGS, 0, 0,
		OPTIONS(usage_export_options), cmd_usage_export, NULL},
	{"usage gaps", "CLIENT", "showings that a client has numbered and that never came",
		NEED_SETTINGS, 1, 1, NO_OPTIONS, cmd_usage_gaps, NULL},
	{"usage sums", "[CLIENT]", "what was shown: sums for each picture, client, customer, hour",
		NEED_SETTINGS, 0, 1, OPTIONS(usage_options), cmd_usage,
		"Sums are of what clients have reported; `helioctl ask CLIENT usage` asks for "
		"more."},
	{"media list", "", "what goes to clients on a disc or a stick", NEED_SETTINGS, 0, 0,
		OPTIONS(media_list_options), cmd_media_list, NULL},
	{"media show", "ORDER", "one medium", NEED_SETTINGS, 1, 1, NO_OPTIONS, cmd_media_show,
		NULL},
	{"media route", "CLIENT", "which way a package would go to a client now", NEED_SETTINGS, 1,
		1, NO_OPTIONS, cmd_media_route, NULL},
	{"media order", "CLIENT", "put a package on a medium, whatever the link does",
		NEED_SETTINGS, 1, 1, OPTIONS(media_order_options), cmd_media_order, NULL},
	{"media posted", "ORDER", "the medium is on its way", NEED_SETTINGS, 1, 1, NO_OPTIONS,
		cmd_media_posted, NULL},
	{"media cancel", "ORDER", "give a medium up", NEED_SETTINGS, 1, 1, NO_OPTIONS,
		cmd_media_cancel, NULL},
	{"media record", "[ORDER...] (--to DIR | --iso FILE)",
		"put one recorded medium, or several, onto a stick or into an image", NEED_SETTINGS,
		0, 64, OPTIONS(media_record_options), cmd_media_record,
		"Without ORDER: every medium that is recorded and not yet posted. The publisher of "
		"this machine holds them. Name all orders of a stick at once: its label names "
		"those of "
		"the last call."},
	{"media merge", "PATH", "take what clients wrote back to a stick", NEED_SETTINGS, 1, 1,
		NO_OPTIONS, cmd_media_merge, NULL},
	{"customer encrypt", "CUSTOMER on|off|rotate",
		"whether packages of the customer are encrypted from now on", NEED_SETTINGS, 2, 2,
		NO_OPTIONS, cmd_customer_encrypt, NULL},
	{"customer keys", "", "whose packages are encrypted, and who makes them", NEED_SETTINGS, 0,
		0, NO_OPTIONS, cmd_customer_keys, NULL},
	{"customer list", "", "customers", NEED_SETTINGS, 0, 0, NO_OPTIONS, cmd_customer_list,
		NULL},
	{"customer show", "CUSTOMER", "its plans, clients and packages", NEED_SETTINGS, 1, 1,
		NO_OPTIONS, cmd_customer_show, NULL},
	{"customer add", "CUSTOMER", "make a customer", NEED_SETTINGS, 1, 1,
		OPTIONS(customer_options), cmd_customer_add, NULL},
	{"customer set", "CUSTOMER", "what holds for all its screens", NEED_SETTINGS, 1, 1,
		OPTIONS(customer_options), cmd_customer_set, NULL},
	{"customer remove", "CUSTOMER", "end a customer that has no clients", NEED_SETTINGS, 1, 1,
		OPTIONS(edit_options), cmd_customer_remove, NULL},
	{"customer plan", "CUSTOMER PLAN", "make or edit an image plan", NEED_SETTINGS, 2, 2,
		OPTIONS(plan_options), cmd_customer_plan,
		"What is not given stays as it is. An expression: sea and (city or harbour) and "
		"not "
		"night, width >= 1920.\n"
		"Each edit makes a revision; if somebody else edited meanwhile, it is refused."},
	{"customer plan-remove", "CUSTOMER PLAN", "end an image plan", NEED_SETTINGS, 2, 2,
		OPTIONS(edit_options), cmd_customer_plan_remove, NULL},
	{"customer place", "CUSTOMER PLACE", "make or edit a place where screens stand",
		NEED_SETTINGS, 2, 2, OPTIONS(place_options), cmd_customer_place, NULL},
	{"customer place-remove", "CUSTOMER PLACE", "end a place where nothing stands",
		NEED_SETTINGS, 2, 2, OPTIONS(edit_options), cmd_customer_place_remove, NULL},
	{"customer client", "CUSTOMER CLIENT", "give it a client, or edit its place and screen",
		NEED_SETTINGS, 2, 2, OPTIONS(customer_client_options), cmd_customer_client, NULL},
	{"customer client-remove", "CUSTOMER CLIENT", "take a client from it", NEED_SETTINGS, 2, 2,
		OPTIONS(edit_options), cmd_customer_client_remove, NULL},
	{"customer history", "CUSTOMER", "who edited what, and what it was before", NEED_SETTINGS,
		1, 1, OPTIONS(max_options), cmd_customer_history, NULL},
	{"customer diff", "CUSTOMER REVISION", "what changed since a revision", NEED_SETTINGS, 2, 2,
		NO_OPTIONS, cmd_customer_diff, NULL},
	{"customer preview", "CUSTOMER", "which pictures its packages have, and why", NEED_SETTINGS,
		1, 1, NO_OPTIONS, cmd_customer_preview,
		"Asks the publisher on this machine. The same of an edit: its --dry-run."},
	{"counters", "", "the server's counters since its start", NEED_SETTINGS, 0, 0, NO_OPTIONS,
		cmd_counters, NULL},
	{"ca init", "DIR --fleet NAME", "make keys, authority and root of trust of a fleet",
		NEED_NOTHING, 1, 1, OPTIONS(ca_init_options), cmd_ca_init, NULL},
	{"ca revoke", "ID", "revoke a certificate: writes DIR/crl.pem", NEED_NOTHING, 1, 1,
		OPTIONS(ca_revoke_options), cmd_ca_revoke, NULL},
	{"enrol", "ROLE ID", "make keys, certificate and enrolment of one machine or seat",
		NEED_NOTHING, 2, 2, OPTIONS(enrol_options), cmd_enrol,
		"ROLE is client, publisher, operator, server, broker or watcher (reads with "
		"mosquitto_sub). Files go to DIR/out/ID; "
		"nothing is\n"
		"overwritten, and an id is given once."},
	{"broker-conf", "KIND --out DIR [NAME=VALUE...]", "mosquitto.conf and acl for a broker",
		NEED_NOTHING, 1, MANY, OPTIONS(broker_conf_options), cmd_broker_conf,
		"KIND is control, data or test. `helioctl broker-conf control --list` shows the "
		"variables."},
	{"decode", "", "make `mosquitto_sub -F '%t %x'` readable", NEED_NOTHING, 0, 0,
		OPTIONS(decode_options), cmd_decode,
		"mosquitto_sub ... -i watch.1 -t 'helio/v1/#' -F '%t %x' | helioctl decode"},
	{"replay", "[FILE] [--set KEY=VALUE]", "which recorded answers another policy would change",
		NEED_NOTHING, 0, 1, OPTIONS(replay_options), cmd_replay,
		"FILE, or the standard input, is a recording: mosquitto_sub ... -t 'helio/v1/hb/+' "
		"-t 'helio/v1/rsp/+' -F '%U %t %x'.\n"
		"Keys: mismatch_limit, resend_limit, interval_ms, interval_busy_ms, "
		"interval_min_ms, interval_max_ms.\n"
		"Nothing is asked of the fleet. After a difference a client is left out until its "
		"operation ends."},
	{"topics", "", "the table of topics", NEED_NOTHING, 0, 0, NO_OPTIONS, cmd_topics, NULL},
	{"completion", "bash|zsh|fish", "completion for a shell", NEED_NOTHING, 1, 1, NO_OPTIONS,
		cmd_completion, NULL},
};
const size_t ctl_command_count = CTL_COUNT(ctl_commands);
