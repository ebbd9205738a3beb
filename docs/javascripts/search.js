// Questions are found as they are asked: what is typed reaches the search without the words that say nothing ("how do I"),
// and without endings. The search itself looks for words that begin with what it gets, so "a" would be found everywhere.
(() => {
  const EMPTY = new Set(("a about after all am an and any are as at be been but by can cannot could did do does doing done " +
    "for from get give go got had has have how i if in into is it its just like make me mean means my need no not of on or " +
    "our own say should so some take tell than that the their them then there these this to try up us use used using want " +
    "was we were what when where which who why will with without work works would you your").split(" "));

  function plain(query) {
    const words = query.toLowerCase().split(/\s+/).map((word) => word.replace(/^[^\w.+-]+|[^\w*]+$/g, ""));
    const kept = words.filter((word) => word && !EMPTY.has(word));
    if (/["+]/.test(query) || !kept.length) return query;
    return kept.map((word) => word.length > 4 ? word.replace(/(?:ies|ing|ed|es|s)$/, "") : word).join(" ");
  }

  const post = Worker.prototype.postMessage;
  Worker.prototype.postMessage = function (message, ...rest) {
    if (message && message.type === 2 && typeof message.data === "string") {
      message = { ...message, data: plain(message.data) };
    }
    return post.call(this, message, ...rest);
  };
})();
