"""`python -m edgefm.runtimes.litertjs setup`: fetch the npm packages of LiteRT.js."""

from edgefm.runtimes.litertjs.setup import main

main()
