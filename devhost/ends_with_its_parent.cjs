// Loaded before Azurite. Its standard input is a pipe that its parent holds: when the parent ends, however it ends, the
// pipe closes, and so does this process. Any input means: print no more.
process.stdin.on("data", () => {
  process.stdout.write = () => true;
});
process.stdin.on("end", () => process.exit(0));
