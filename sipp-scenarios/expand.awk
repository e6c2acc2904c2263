# Writes a scenario of SIPp from one whose elements may be parts: <NAME .../> becomes parts/NAME.xml. In a part,
#   {{name}} and {{name=default}} are attributes of the element; ` | ` in one that stands alone on its line parts lines;
#   {{cseq}} counts the requests that are sent;
#   {{receive=METHOD}} takes a request, with the element's `has="Header: REGEX | ..."`, `lacks="Header | ..."` checked of it,
#   and its `within="MS"`.
#
#   awk -v parts=FOLDER -f expand.awk FILE
function plain(text) {
  gsub(/&lt;/, "<", text); gsub(/&gt;/, ">", text); gsub(/&quot;/, "\"", text); gsub(/&amp;/, "\\&", text)
  return text
}
function escaped(text) {
  gsub(/&/, "\\&amp;", text); gsub(/</, "\\&lt;", text); gsub(/>/, "\\&gt;", text); gsub(/"/, "\\&quot;", text)
  return text
}
function attributes(text,    name, quote, end) {
  split("", given)
  while (match(text, /[a-z_]+=["']/)) {
    name = substr(text, RSTART, RLENGTH - 2)
    quote = substr(text, RSTART + RLENGTH - 1, 1)
    text = substr(text, RSTART + RLENGTH)
    end = index(text, quote)
    given[name] = plain(substr(text, 1, end - 1))
    text = substr(text, end + 1)
  }
}
function check(regexp, header, inverse) {
  checks++
  printf "      <ereg regexp=\"%s\" search_in=\"hdr\" header=\"%s:\" %s=\"true\" assign_to=\"found%d\"/>\n", \
    escaped(regexp), header, inverse ? "check_it_inverse" : "check_it", checks
}
function receive(method,    list, count, i, at) {
  printf "  <recv request=\"%s\"%s>\n", method, ("within" in given) ? " timeout=\"" given["within"] "\"" : ""
  if (("has" in given) || ("lacks" in given)) print "    <action>"
  count = split(given["has"], list, / \| /)
  for (i = 1; i <= count; i++) {
    at = index(list[i], ": ")
    check(substr(list[i], at + 2), substr(list[i], 1, at - 1), 0)
  }
  count = split(given["lacks"], list, / \| /)
  for (i = 1; i <= count; i++) check(".", list[i], 1)
  if (given["has"] != "" || given["lacks"] != "") print "    </action>"
  print "  </recv>"
}
function value(key,    at, name, fallback) {
  at = index(key, "=")
  name = at ? substr(key, 1, at - 1) : key
  if (name == "cseq") return ++cseq
  if (name in given) return given[name]
  if (!at) { print FILENAME ": a part lacks " name > "/dev/stderr"; exit 1 }
  return substr(key, at + 1)
}
function fill(line,    key, own, list, count, i, rest) {
  if (match(line, /^[{][{]receive=[A-Z]+[}][}]$/)) { receive(substr(line, 11, length(line) - 12)); return }
  if (match(line, /^[{][{][a-z]+=[}][}]/)) {
    rest = substr(line, RLENGTH + 1)
    count = split(value(substr(line, 3, RLENGTH - 4)), list, / \| /)
    for (i = 1; i <= count; i++) print "      " list[i]
    line = rest
  }
  own = ""
  while (match(line, /[{][{][^}]*[}][}]/)) {
    key = substr(line, RSTART + 2, RLENGTH - 4)
    own = own substr(line, 1, RSTART - 1) value(key)
    line = substr(line, RSTART + RLENGTH)
  }
  print own line
}
{
  name = $1
  sub(/^</, "", name); sub(/\/.*/, "", name)
  file = parts "/" name ".xml"
  if (name ~ /^[a-z_]+$/ && (getline line < file) > 0) {
    attributes($0)
    do fill(line); while ((getline line < file) > 0)
    close(file)
  } else if ($0 ~ /^<\/scenario>/ && checks) {
    printf "  <Reference variables=\""
    for (i = 1; i <= checks; i++) printf "%sfound%d", (i > 1 ? "," : ""), i
    print "\"/>\n" $0
  } else print
}
