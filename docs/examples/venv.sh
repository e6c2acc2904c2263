# Sourced: ensure_venv FOLDER REQUIREMENTS makes an environment of Python, or brings it up to date with the file.
ensure_venv() {
  local stamp="$1/.requirements"
  if ! cmp -s "$2" "$stamp"; then
    [ -x "$1/bin/python" ] || python3 -m venv "$1"
    "$1/bin/pip" install --disable-pip-version-check -q -r "$2"
    cp "$2" "$stamp"
  fi
}
