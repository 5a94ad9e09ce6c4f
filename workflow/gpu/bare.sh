#!/usr/bin/env bash
# On a bare machine with PyTorch and no network, in a checkout with what `make gpu-pack` left in .gpu:
#   bash workflow/gpu/bare.sh FOLDER [further arguments of workflow/gpu]
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:?name the folder of the tables}
shift
site=$(mktemp -d)
# Without wheels the image has all that is needed.
[ ! -d .gpu/wheels ] || python3 -m pip install --quiet --no-index --no-deps --no-compile --target "$site" .gpu/wheels/*.whl
export PYTHONPATH="$site" MSTL_CACHE="$site/cache"
photographs=()
[ ! -d .gpu/carparts ] || photographs=(--carparts .gpu/carparts)
exec python3 workflow/gpu --out "$out" "${photographs[@]}" "$@"
