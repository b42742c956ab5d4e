// An open conversation: its messages, what is written, and what is new.

import { Composer } from "./composer.js";
import { Messages } from "./messages.js";
import { watchNews } from "./news.js";
import { explain, say } from "./words.js";

const notice = document.getElementById("notice");

function tell(words) {
  notice.textContent = words;
  notice.hidden = !words;
}

const messages = new Messages(tell);
new Composer((message) => {
  messages.add([message]);
  messages.goToNewest();
  look();
});
const opened = messages.open().catch((error) => tell(explain(error)));
const look = watchNews({
  async onNews(latestId) {
    await opened;
    await messages.catchUp(latestId);
  },
  onSilence: (isAway) => tell(isAway ? say("unreachable") : ""),
});
