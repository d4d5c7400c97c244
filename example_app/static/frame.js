// What every page has: the connection, who is there, and the channels beside the page with what is unread in them.
import { connect } from "/neolith/static/client/live.js";
import { People } from "./people.js";
import { openNewChannel, openNewDirect } from "./rooms.js";
import { Sidebar } from "./sidebar.js";

const here = document.getElementById("line")?.dataset.channel ?? null;

export const socket = connect();
export const people = new People(socket);
export const sidebar = new Sidebar({ socket, people, here });

document.getElementById("new-channel").addEventListener("click", () => openNewChannel(people));
document.getElementById("new-dm").addEventListener("click", () => openNewDirect(people));
