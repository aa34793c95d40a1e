#!/bin/sh
# Start the Chromium that $CHROMIUM names without the page of the address bar's suggestions.
# Chromium loads that page into each new window, which takes more CPU time than most pages of the tests. It reads only
# the last --disable-features, so the features that Playwright disables are repeated.
features=WebUIOmniboxPopup,WebUIOmniboxAimPopup
for argument; do
  case $argument in --disable-features=*) features=$features,${argument#*=} ;; esac
done
exec "$CHROMIUM" "$@" "--disable-features=$features"
