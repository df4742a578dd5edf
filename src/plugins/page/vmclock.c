/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/page/vmclock.h"

void vmclock_compose(
                VmclockPage *ret, uint32_t sequence, uint64_t disruption_marker, bool notifies) {
        *ret = (VmclockPage){
                .magic = VMCLOCK_MAGIC,
                .size = PAGE_SIZE_BYTES, /* of the region, by the rules; not of the structure */
                .version = VMCLOCK_VERSION,
                .counter_id = VMCLOCK_COUNTER_INVALID,
                .time_type = VMCLOCK_TIME_UTC,
                .sequence = sequence,
                .disruption_marker = disruption_marker,
                .flags = notifies ? VMCLOCK_FLAG_NOTIFICATION_PRESENT : 0,
                .clock_status = VMCLOCK_STATUS_UNKNOWN,
        };
}
