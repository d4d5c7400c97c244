// Words of the wire as people read them.
import { clockTime } from "../client/time.js";

const PAUSES = {
  hours: "outside its working hours",
  budget: "its budget is spent",
  replies: "it has given its answers",
};

export const WAKES = {
  addressed: "was named as addressee",
  mentioned: "was mentioned",
  "mention-added": "was mentioned by an edit",
  "role-mentioned": "its role was called",
  reply: "is a reply to its message",
  "direct-message": "a direct message",
  keyword: "a keyword was said",
  "keyword-added": "a keyword was added by an edit",
  "thread-followed": "follows this thread",
  "watched-channel": "listens to everything here",
};

// nodes: "paused: its budget is spent, until 15:00"
export function pauseText({ reason, until }) {
  const said = `paused: ${PAUSES[reason] ?? reason}`;
  return until ? [`${said}, until `, clockTime(until)] : [said];
}

export function wakeText(reason) {
  return reason ? (WAKES[reason] ?? reason.replaceAll("-", " ")) : "–";
}

export const STATES = {
  parked: "waits for approval",
  superseded: "written anew since",
};

// a step's state: the word, and the state whose colour it has
export const STEPS = {
  waiting: ["waits for approval", "parked"],
  approved: ["approved", "running"],
  running: ["running", "running"],
  denied: ["denied", "failed"],
  expired: ["nobody decided", "expired"],
  cancelled: ["cancelled", "stopped"],
  done: ["done", "done"],
  failed: ["failed", "failed"],
};
