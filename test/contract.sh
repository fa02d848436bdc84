#!/bin/sh
# contract.sh: the requests of the shipped definitions against validators made from the vendors' own documents
# (test/contract, test/t/800_contract.pl), which are looked for in ../shared/specs.  What npm brings lies in a
# temporary folder, and is gone afterwards.
set -eu

cd "$(dirname "$0")/.."
if [ ! -r "${ACTIVATE_SHARED:-../shared}/specs/intercom.json" ]; then
	echo "contract: the vendors' documents are not in ${ACTIVATE_SHARED:-../shared}/specs" >&2
	exit 1
fi
command -v node >/dev/null && command -v npm >/dev/null || sh test/deps.sh nodejs npm
REGRESS='' ISOLATION='' TAP='test/t/800_contract.pl' exec sh test/sandbox.sh sh test/check.sh
