// Loaded before Azurite: shortcuts in its store (lokijs), which change no answer. Without them each call about a queue
// of ten thousand messages takes 40 to 80 ms, and a storm measures nothing but that.
const Loki = require(require.resolve("lokijs", { paths: [process.argv[1]] }));
const { removeBatch, update } = Loki.Collection.prototype;
const { find } = Loki.Resultset.prototype;

// Before each call Azurite removes the messages that have expired; the store then sorts every index of all messages
// anew, even if there were none. To remove nothing does nothing.
Loki.Collection.prototype.removeBatch = function (batch) {
  if (batch.length > 0) {
    removeBatch.call(this, batch);
  }
};

// Several messages changed at once do the same; one by one they only take their new places.
Loki.Collection.prototype.update = function (changed) {
  for (const one of Array.isArray(changed) ? changed : [changed]) {
    update.call(this, one);
  }
};

// A message is looked for by account, queue and id, in this order, and only the first condition may use an index, which
// every message fits. The one that fits fewest goes first: the same conditions, the same results.
const FEWEST = ["messageId", "expirationTime", "timeNextVisible"];
Loki.Resultset.prototype.find = function (query, ...rest) {
  const name = query && FEWEST.find((one) => one in query);
  return find.call(this, name ? { [name]: query[name], ...query } : query, ...rest);
};
