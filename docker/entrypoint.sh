#!/bin/sh
# Fits the embedded sample corpus if its checkpoint is the one to serve and is not there yet, then becomes the command.
set -eu

sample=/models/sample
if [ "${DIALOG_CVAE_CHECKPOINT:-}" = "$sample/best" ] && [ ! -f "$sample/best/config.json" ]; then
    if [ ! -w /models ]; then
        echo "error: /models is not writable by user $(id -u), and has no checkpoint $sample/best" >&2
        exit 2
    fi
    echo "No checkpoint is mounted: fitting the small synthetic corpus 'sample' (up to 3 minutes, once)."
    # Moved into place when complete, so that a start that was interrupted begins anew instead of serving half a fit.
    unfinished=/models/.sample-unfinished
    rm -rf "$unfinished"
    python -m training.fit --data sample --recipe sample --out "$unfinished"
    rm -rf "$sample"
    mv "$unfinished" "$sample"
fi
exec "$@"
