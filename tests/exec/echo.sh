#!/bin/sh
# Sends back the text it hears; the payload is an event's last member.
while read -r line; do
	seq=${line#*\"seq\":}
	conn=${line#*\"conn\":\"}
	case $line in
	*'"event":"message"'*)
		printf '{"send":{"conn":"%s","text":%s}\n' "${conn%%\"*}" \
		    "${line#*,\"text\":}"
		;;
	esac
	printf '{"done":%s}\n' "${seq%%,*}"
done
