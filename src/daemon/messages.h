/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Message Ids
 *
 * The MESSAGE_ID= of each milestone in the journal. Each has an entry in conf/suspendd.catalog,
 * which explains it to people (journalctl -x); a test compares the two.
 */

/* a cycle has begun: the host is about to sleep */
#define SUSPENDD_MESSAGE_CYCLE_STARTED "ff271a02d985b61e2def1326d081e0c0"
/* a machine was seen to stand */
#define SUSPENDD_MESSAGE_MACHINE_STOOD "e1ff7c9b19729f578386cd038222b385"
/* the delay lock was let go */
#define SUSPENDD_MESSAGE_LOCK_RELEASED "2432197c28b805e5daf54e273fce1b96"
/* the host is awake again, or never slept */
#define SUSPENDD_MESSAGE_WOKE "6de9db96939b4018c6c2eda54f74426b"
/* a machine was seen to run again */
#define SUSPENDD_MESSAGE_MACHINE_RAN "882bcc994970c91eba237450a9f1f9d3"
/* a cycle is over */
#define SUSPENDD_MESSAGE_CYCLE_FINISHED "fac246b039ef3d381834cc64b694d075"
/* what was wanted of a machine did not come about */
#define SUSPENDD_MESSAGE_MACHINE_FAILED "f047778188e0a65c54ca7ea658fd9725"
/* the host can sleep without waiting for us */
#define SUSPENDD_MESSAGE_UNPROTECTED "4cf47c00ab9020e752021228a6d53eea"
/* what an earlier life of the daemon had stopped was taken over */
#define SUSPENDD_MESSAGE_RECOVERED "6d81331a5a561ac537daa46e3c68b3af"
/* what is held by a journal that cannot be read is not known */
#define SUSPENDD_MESSAGE_UNREAD "5abd0945cdc3ea99b23c2738a31a0b98"
/* machines that are held could not be run again, and nobody is there to do it */
#define SUSPENDD_MESSAGE_STRANDED "45bbfcd47fa0edbad0b94cbb1fb0338c"
