#!/bin/sh
# /usr/bin/gather of the image: what `oc adm must-gather --image=IMAGE -- /usr/bin/gather [-u]` runs. It copies /must-gather.
exec kmm-operator gather --output "${MUST_GATHER_DIRECTORY:-/must-gather}" "$@"
