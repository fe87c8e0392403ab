# cmake -DFOLDER=broker-conf -DOUT=broker_templates.c -P embed.cmake
# Writes every template and every defaults file of the folder as bytes of a C file.
file(GLOB_RECURSE files RELATIVE ${FOLDER} ${FOLDER}/*.j2 ${FOLDER}/defaults*.yml)
list(SORT files)
set(arrays "")
set(rows "")
set(i 0)
foreach(file ${files})
	file(READ ${FOLDER}/${file} hex HEX)
	string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
	string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
	string(APPEND arrays "static const unsigned char template_${i}[] = {\n${bytes} 0\n};\n")
	string(APPEND rows "\t{ \"${file}\", template_${i}, sizeof(template_${i}) - 1 },\n")
	math(EXPR i "${i} + 1")
endforeach()
file(WRITE ${OUT} "// Made from broker-conf/ by embed.cmake.
#include \"server/ctl/broker_conf.h\"

${arrays}
const struct broker_template broker_templates[] = {
${rows}};
const size_t broker_template_count = ${i};
")
