import { connect } from "/neolith/static/client/live.js";
import { showPresence } from "/neolith/static/client/presence.js";

showPresence(connect());
