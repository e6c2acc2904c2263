# Sourced: wait_for PORT [SECONDS] returns when somebody listens there on loopback.
wait_for() {
  local until=$((SECONDS + ${2:-120}))
  until (: > "/dev/tcp/127.0.0.1/$1") 2>/dev/null; do
    if [ "$SECONDS" -ge "$until" ]; then
      echo "nobody listens on port $1" >&2
      return 1
    fi
    sleep 0.2
  done
}
