// How the turn of a picture ended: said by the display in its ledger, carried by the agent, summed
// by the server.
#ifndef HELIO_SHOWN_H
#define HELIO_SHOWN_H

// 0: it was shown, and nobody said how long it should have been.
enum shown_result {
	SHOWN_WHOLE = 1, // as long as planned, or longer
	SHOWN_CUT,       // shorter
	SHOWN_SKIPPED,   // its turn came, and it was passed over: it could not be read before
	SHOWN_FAILED     // it could not be read
};

#define SHOWN_REASON_MAX 16 // letters of the word that says why

const char *shown_result_word(enum shown_result r);

#endif
