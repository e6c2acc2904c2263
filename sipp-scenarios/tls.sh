#!/usr/bin/env bash
# SIP over TLS, driven from outside: calls by `handback call` (SIPp has no TLS), the handshakes by `openssl s_client`.
#   tls.sh          everything
# HANDBACK names another binary than target/release/handback.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v openssl >/dev/null || { echo "openssl is not here: apt-get install openssl" >&2; exit 1; }
need
build
failures=0

# passes NAME COMMAND…: the command must succeed.
passes() {
  local name=$1 started=$SECONDS
  shift
  if "$@" >"$work/last.log" 2>&1; then
    echo "ok    $name ($((SECONDS - started)) s)"
  else
    echo "FAIL  $name"
    sed 's/^/      /' "$work/last.log"
    failures=$((failures + 1))
  fi
}
fails() { ! "$@"; }

# certificate NAME SUBJECT-ALT-NAME AUTHORITY: $work/NAME.pem and $work/NAME.key.
certificate() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" \
    -keyout "$work/$1.key" -out "$work/$1.pem" -addext "subjectAltName=$2" -addext "basicConstraints=critical,CA:FALSE" \
    -CA "$work/$3.pem" -CAkey "$work/$3.key" 2>/dev/null
}
authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" \
    -keyout "$work/$1.key" -out "$work/$1.pem" -addext "keyUsage=critical,keyCertSign,cRLSign" 2>/dev/null
}
authority ca
authority stranger-ca
certificate gateway IP:127.0.0.1,IP:::1,DNS:gw.example.com ca
certificate renewed IP:127.0.0.1,IP:::1,DNS:renewed.example.com ca
certificate client DNS:sbc.example.com ca
certificate stranger DNS:stranger.example.com stranger-ca
cp "$work/gateway.pem" "$work/shown.pem"
cp "$work/gateway.key" "$work/shown.key"

new_key
everywhere='["127.0.0.0/8", "::1"]'
addresses=$everywhere further=
# configure NAME PORT LINE…: a gateway on TLS of 127.0.0.1 and ::1; further lines belong to [sip.tls].
configure() {
  local name=$1
  free_port; local tls=$port
  free_port; api=$port
  free_port; local admin=$port
  shift
  cat >"$work/$name.toml" <<TOML
[sip]
listen = ["tls://127.0.0.1:$tls", "tls://[::1]:$tls"]
[sip.tls]
certificate_file = "$work/shown.pem"
key_file = "$work/shown.key"
$(printf '%s\n' "$@")
[media]
listen = ["127.0.0.1", "::1"]
ports = "20000-20399"
[api]
listen = "127.0.0.1:$api"
[admin]
listen = "127.0.0.1:$admin"
[store]
url = "memory://"
[handback]
refer_bye_after = "500ms"
[limits]
calls = 50
[[account]]
id = "acme"
return_targets = ["127.0.0.0/8", "::1"]
  [[account.api_key]]
  id = "acme"
  secret_hash = '$key_hash'
  [[account.trunk]]
  name = "sbc"
  allow = $addresses
  $further
TOML
  start_gateway "$name"
  sip=$tls admin_url=http://127.0.0.1:$admin
}

count=0
# transfer TYPE URI COMPLETE_AFTER_MS: registers one; sets `id`.
transfer() {
  count=$((count + 1))
  id=tls-$count
  register "$api" acme "$key_secret" "$id" "$1" "$2" "$3" ""
}
call() { "$handback" call --transport tls --to "sips:agent@$1" --transfer "$id" --ca "$work/ca.pem" "${@:2}"; }
status() {
  fetch "$api" acme "$key_secret" "$1" | jq -r .status
}
# whole_call HOST TYPE COMPLETE_AFTER_MS OPTION…: a call that ends well, and so does its transfer.
whole_call() {
  transfer "$2" "${return_uri:-}" "$3"
  call "$1" "${@:4}" && [ "$(status "$id")" = COMPLETED ]
}
probe() { openssl s_client -connect "127.0.0.1:$sip" -CAfile "$work/ca.pem" -verify_return_error "$@" </dev/null; }
shown() { probe 2>/dev/null | openssl x509 -noout -ext subjectAltName; }
figure() { curl -sf "$admin_url/metrics" | awk -v name="$1" '$1 == name { print $2 }'; }

configure open
passes "call over TLS 1.2 or 1.3 is handed back by BYE" whole_call "127.0.0.1:$sip" BYE 500
passes "call over TLS 1.3 alone is handed back by BYE" whole_call "127.0.0.1:$sip" BYE 500 --tls-min 1.3
passes "call over TLS and IPv6 is handed back by BYE" whole_call "[::1]:$sip" BYE 500
passes "caller holds, resumes and hangs up" whole_call "127.0.0.1:$sip" BYE "" --hold-after 0.5 --hangup-after 2
return_uri="sip:queue@127.0.0.1:5999" passes "call over TLS is handed back by REFER" whole_call "127.0.0.1:$sip" REFER 500
pressed() {
  transfer BYE "" ""
  call "127.0.0.1:$sip" --dtmf 1 &&
    [ "$(fetch "$api" acme "$key_secret" "$id" | jq -r .outputContext.transferVariables.digits)" = 1 ]
}
passes "keys that the caller presses over a TLS call reach the result" pressed
passes "TLS 1.2 is spoken" probe -tls1_2
passes "TLS 1.3 is spoken" probe -tls1_3
passes "TLS 1.1 is refused" fails probe -tls1_1 -cipher DEFAULT@SECLEVEL=0
passes "TLS 1.0 is refused" fails probe -tls1 -cipher DEFAULT@SECLEVEL=0
passes "certificate of the gateway is trusted by name" probe -verify_hostname gw.example.com
unknown_authority() {
  transfer BYE "" 500
  fails "$handback" call --transport tls --to "sips:agent@127.0.0.1:$sip" --transfer "$id" --ca "$work/stranger-ca.pem"
}
passes "gateway of an authority that the caller does not know is not called" unknown_authority
insecure() {
  transfer BYE "" 500
  "$handback" call --transport tls --to "sips:agent@127.0.0.1:$sip" --transfer "$id" --insecure
}
passes "caller may take any certificate" insecure

# The certificate is renewed while a call stands; the call ends as ever, and new connections see the new one.
renewal() {
  transfer BYE "" ""
  call "127.0.0.1:$sip" --hangup-after 3 >"$work/standing.log" 2>&1 &
  local standing=$!
  sleep 1
  shown | grep -q gw.example.com || return 1
  cp "$work/renewed.pem" "$work/shown.pem"
  cp "$work/renewed.key" "$work/shown.key"
  kill -HUP "$gateway_pid"
  sleep 1
  shown | grep -q renewed.example.com || return 1
  wait "$standing" || { cat "$work/standing.log"; return 1; }
  [ "$(status "$id")" = COMPLETED ]
}
passes "SIGHUP renews the certificate while a call stands" renewal
bad_renewal() {
  cp "$work/client.key" "$work/shown.key"
  kill -HUP "$gateway_pid"
  sleep 1
  grep -q "not reloaded: sip.tls.certificate_file" "$work/open.log" || { tail -3 "$work/open.log"; return 1; }
  shown | grep -q renewed.example.com
}
passes "certificate without its key is refused with the reason, and the old one stays" bad_renewal
cp "$work/renewed.key" "$work/shown.key"

configure mutual "client_ca_file = \"$work/ca.pem\"" "require_client_certificate = true"
passes "caller with a certificate is taken" \
  whole_call "127.0.0.1:$sip" BYE 500 --certificate "$work/client.pem" --key "$work/client.key"
passes "caller with a certificate is taken over TLS 1.3" \
  whole_call "127.0.0.1:$sip" BYE 500 --tls-min 1.3 --certificate "$work/client.pem" --key "$work/client.key"
refused() {
  transfer BYE "" 500
  fails call "127.0.0.1:$sip" "$@" && [ "$(status "$id")" = ACTIVE ]
}
passes "caller without a certificate is turned away" refused
passes "caller with a certificate of another authority is turned away" \
  refused --certificate "$work/stranger.pem" --key "$work/stranger.key"
passes "what was turned away is counted" test "$(figure handback_sip_tls_handshakes_failed_total)" -ge 2

# The gateway that asks for certificates is the target of an INVITE return: it knows the transfer too.
target_sip=$sip target_api=$api
configure returning "ca_file = \"$work/ca.pem\""
returned() {
  transfer INVITE "sips:agent@127.0.0.1:$target_sip" 500
  register "$target_api" acme "$key_secret" "$id" BYE "" 700 ""
  call "127.0.0.1:$sip" || return 1
  [ "$(status "$id")" = COMPLETED ] && [ "$(fetch "$target_api" acme "$key_secret" "$id" | jq -r .status)" = COMPLETED ]
}
passes "call is returned by INVITE over TLS with certificates on both sides" returned
configure strange "ca_file = \"$work/stranger-ca.pem\""
not_returned() {
  transfer INVITE "sips:agent@127.0.0.1:$target_sip" 500
  register "$target_api" acme "$key_secret" "$id" BYE "" 700 ""
  call "127.0.0.1:$sip" || return 1
  [ "$(fetch "$target_api" acme "$key_secret" "$id" | jq -r .status)" = ACTIVE ]
}
passes "target whose certificate is of another authority is not called, and the call ends by BYE" not_returned

# A server that shows what it is sent: the INVITE of a return offers its connection backwards (RFC 5923).
configure aliasing "ca_file = \"$work/ca.pem\""
alias_offered() {
  free_port
  openssl s_server -accept "127.0.0.1:$port" -cert "$work/gateway.pem" -key "$work/gateway.key" -CAfile "$work/ca.pem" \
    -Verify 1 -quiet >"$work/shown.txt" 2>"$work/server.log" < <(sleep 20) &
  pids+=($!)
  sleep 0.5
  transfer INVITE "sips:desk@127.0.0.1:$port" 300
  call "127.0.0.1:$sip" --hangup-after 3 || true
  tr -d '\r' <"$work/shown.txt" | grep -E '^Via: SIP/2.0/TLS 127.0.0.1:[0-9]+;branch=z9hG4bK[a-z0-9]+;rport;alias$' ||
    { cat "$work/shown.txt" "$work/server.log"; return 1; }
}
passes "return by INVITE over TLS offers its connection backwards" alias_offered

# A trunk that is known by digest alone.
digest() {
  transfer BYE "" 500
  call "127.0.0.1:$sip" --user sbc --password "$1" && [ "$(status "$id")" = "$2" ]
}
addresses="[]"
further='digest = { username = "sbc", password = "trunk-secret" }'
configure digest
passes "caller who knows the password is taken over TLS" digest trunk-secret COMPLETED
passes "caller who does not know it is challenged again over TLS" fails digest guessed COMPLETED
addresses=$everywhere further=

[ "$failures" = 0 ] || { echo "$failures failed"; exit 1; }
