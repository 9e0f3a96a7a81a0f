// Loaded before Azurite: shortcuts in its store (lokijs), which change no answer. Without them each call about a queue
// of ten thousand messages takes 40 to 80 ms and its cleaning, once a minute, takes minutes; a storm would measure
// nothing but that.
const Loki = require(require.resolve("lokijs", { paths: [process.argv[1]] }));
const { removeBatchByPositions, update } = Loki.Collection.prototype;
const { find } = Loki.Resultset.prototype;

// After any batch of removals every index of all documents is sorted anew, even if the batch was empty (Azurite removes
// the messages that have expired before each call) or held one (its cleaning). One by one they only leave their places.
const FEW = 16;
Loki.Collection.prototype.removeBatchByPositions = function (positions) {
  if (positions.length > FEW) {
    removeBatchByPositions.call(this, positions);
    return;
  }
  for (const document of positions.map((position) => this.data[position])) {
    this.remove(document);
  }
};

// Several documents changed at once do the same.
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
