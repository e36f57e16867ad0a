// After any error the CLI asks npm for its newest version, without a time limit. It talks to our server over plain
// http, so nothing else needs https.
require("node:https").request = () => {
  throw new Error("not in a test");
};
