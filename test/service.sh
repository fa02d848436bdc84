# service.sh, sourced: starts the HTTP service; it ends with the shell that started it.
# Sets ACTIVATE_SERVICE_URL, which "$ACTIVATE_SERVICE call" and psql's \getenv read, and service_pid.
stop_service()
{
	trap - EXIT
	{ kill "$service_pid"; wait "$service_pid"; } 2>/dev/null || true
}

mkfifo "$TMPDIR/service.port"
"$ACTIVATE_SERVICE" >"$TMPDIR/service.port" &
service_pid=$!
read -r port <"$TMPDIR/service.port"
rm "$TMPDIR/service.port"
export ACTIVATE_SERVICE_URL="http://127.0.0.1:$port"
