import { connect } from "./live.js";
import { showPresence } from "./presence.js";

showPresence(connect());
