"""Pages for people: one HTML file each, without scripts and without anything from a network.

Pure functions from plain values to text: nothing is asked here, and no file is read but images for
thumbnails. `page` is the frame and the style, `charts` and `parallel` draw SVG, `sections` are what
all pages share, `trials` and `origin` are parts of a run's page; `run_page` and `evaluation_page`
put pages together.
"""
