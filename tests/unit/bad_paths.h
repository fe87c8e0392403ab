// Names that would lead out of a folder, or are none on some system (attack C3). Each way in is
// tried with all of them.
#ifndef HELIO_TESTS_UNIT_BAD_PATHS_H
#define HELIO_TESTS_UNIT_BAD_PATHS_H

#include <stddef.h>
#include <string.h>

// Of 4,096 letters, in levels of 50; one level of 199; seventeen levels.
static char bad_path_long[4097], bad_path_level[200], bad_path_deep[64];

static const char *const bad_paths[] = {"", ".", "..", "../x", "/abs", "/", "//", "a//b", "a/",
	"a/../../b", "a/./b", "a/..", ".hidden", "a/.hidden", "a\\b", "..\\x", "a b", "a ", " a",
	"a\tb", "a\nb", "a\rb", "a\x01", "a\x7f", "%2e%2e/x%", "%2e%2e",
	"\xef\xbc\x8e\xef\xbc\x8e/x", "\xe2\x80\xa4\xe2\x80\xa4/x", "\xc3\xa4.jpg", "a\xff",
	"\xc0\xae\xc0\xae/x", "a:b", "c:", "con:", "a*b", "a?b", "a#b", "a+b", "a|b", "a;b", "a$b",
	"$(x)", "`x`", "a&b", "a'b", "a\"b", "<a>", "a,b", "a=b", "~", "~root/x", "a@b", "a!b",
	"{a}", "[a]", "(a)", "^a", "../../..", "a/b/../c", "con\\x", "./a", "a/.", "\x1b]52;",
	"x/..\\y", bad_path_long, bad_path_level, bad_path_deep};
#define BAD_PATH_COUNT (sizeof(bad_paths) / sizeof(bad_paths[0]))
_Static_assert(BAD_PATH_COUNT >= 60, "sixty names");

static inline void bad_paths_make(void)
{
	memset(bad_path_long, 'a', sizeof(bad_path_long) - 1);
	for (size_t i = 50; i < sizeof(bad_path_long) - 1; i += 51)
		bad_path_long[i] = '/';
	memset(bad_path_level, 'b', sizeof(bad_path_level) - 1);
	bad_path_deep[0] = 'a';
	for (size_t i = 1; i < 2 * 16 + 1; i += 2)
		memcpy(bad_path_deep + i, "/a", 3);
}

#endif
