# Completion of earshot and earshotd for bash.  Commands and options are read
# from the programs' own help, so that it never knows other ones than they do.
# shellcheck shell=bash

_earshot_options() {
	"$@" --help 2>/dev/null | grep -oE -- '(^|[ ,])--[a-z-]+' | tr -d ' ,' |
		sort -u
}

# The words in the first column of `earshot --help`.
_earshot_commands() {
	earshot --help 2>/dev/null | sed -nE 's/^  ([a-z][a-z-]*)( .*|$)/\1/p'
}

_earshot_words() {
	mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
}

_earshot() {
	local word=${COMP_WORDS[COMP_CWORD]} before='' command='' i
	((COMP_CWORD > 0)) && before=${COMP_WORDS[COMP_CWORD - 1]}
	for ((i = 1; i < COMP_CWORD; i++)); do
		[[ ${COMP_WORDS[i]} == -* ]] || {
			command=${COMP_WORDS[i]}
			break
		}
	done
	case $before in
	--ca | --state | --token-file | --control | -c | --config)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		compopt -o filenames 2>/dev/null
		return
		;;
	log-level)
		_earshot_words 'error warn info debug' "$word"
		return
		;;
	--from)
		_earshot_words 'oldest -10 -100' "$word"
		return
		;;
	--url | -u)
		_earshot_words 'http:// https:// ws:// wss://' "$word"
		compopt -o nospace 2>/dev/null
		return
		;;
	esac
	if [[ $1 == *earshotd ]]; then
		_earshot_words "$(_earshot_options earshotd)" "$word"
	elif [[ $word == -* ]]; then
		_earshot_words "$(_earshot_options earshot
			[[ -z $command ]] || _earshot_options earshot "$command")" \
			"$word"
	elif [[ -z $command ]]; then
		_earshot_words "$(_earshot_commands)" "$word"
	fi
}

complete -F _earshot earshot earshotd
