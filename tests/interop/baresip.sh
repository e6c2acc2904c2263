# A telephone that is not ours: baresip, without a sound card, worked over its control port.
# Sourced by run.sh.

# start_baresip NAME TRANSPORT SIP_PORT CONTROL_PORT USER: its folder is $work/NAME.
start_baresip() {
  local folder=$work/$1 transport=$2
  mkdir -p "$folder/heard"
  cat >"$folder/config" <<C
poll_method epoll
sip_listen 127.0.0.1:$3
sip_cafile $work/ca.pem
sip_certificate $work/both.pem
net_interface 127.0.0.1
rtp_ports $(($3 + 2000))-$(($3 + 2100))
call_max_calls 2
audio_source aufile,$work/tone.wav
audio_player aubridge,nobody
audio_alert aubridge,nobody
audio_level no
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
rtp_timeout 0
ctrl_tcp_listen 127.0.0.1:$4
snd_path $folder/heard
module_path $baresip_modules
module_tmp account.so
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
module_app menu.so
module_app ctrl_tcp.so
C
  echo "<sip:$5@127.0.0.1:$3;transport=$transport>;regint=0;audio_codecs=PCMU/8000/1" >"$folder/accounts"
  : >"$folder/contacts"
  (cd "$folder" && exec timeout 120 baresip -s -f "$folder") >"$folder/screen" 2>&1 </dev/null &
  pids+=($!)
  baresip_pid=$! baresip_control=$4 baresip_folder=$folder
  for _ in $(seq 50); do
    (exec 3<>"/dev/tcp/127.0.0.1/$4") 2>/dev/null && return
    kill -0 "$baresip_pid" 2>/dev/null || break
    sleep 0.1
  done
  echo "baresip does not start:" >&2
  cat "$folder/screen" >&2
  return 1
}

# baresip COMMAND [PARAMETER]: one command over the control port (a netstring of JSON); prints the answer.
baresip_do() {
  local json length
  json=$(jq -nc --arg command "$1" --arg params "${2:-}" '{command: $command, params: $params, token: "t"}')
  length=${#json}
  exec 3<>"/dev/tcp/127.0.0.1/$baresip_control"
  printf '%s:%s,' "$length" "$json" >&3
  timeout 0.4 cat <&3 || true
  exec 3>&-
}

stop_baresip() {
  kill "$baresip_pid" 2>/dev/null || true
  wait "$baresip_pid" 2>/dev/null || true
}
