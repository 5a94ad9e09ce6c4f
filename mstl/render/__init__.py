"""Parametric cars in a photo studio, rendered with Mitsuba 3.

One parametric model (`styles`, `body`, `car`, `wheels`) gives six body styles; `studio`
holds light, camera and materials; `foreign` grafts one true part onto a foreign body;
`frames` goes from a seed to a finished view and `dataset` writes them all. Importing
this package imports nothing heavy; rendering needs ``pip install "mstl[render]"``.
"""
