/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ticking guest
 *
 * A guest without an operating system that has what a sleep of its host does harm to: a wall clock,
 * which counts by the HPET as a real guest's counts by its clock source, and an agent to set it by,
 * on the second serial port. It starts at once and needs next to no CPU time: between interrupts it
 * is halted. Twice a second it says on the debug console what its clocks are, in hexadecimal:
 *
 *     up=MICROSECONDS wall=NANOSECONDS rtc=SECONDS-OF-THE-DAY
 *
 * 32-bit protected mode without paging, started by multiboot.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AGENT 0x2f8
#define DEBUG_CONSOLE 0xe9
#define HPET 0xfed00000U
#define HPET_TICK_NS 10 /* QEMU's */
#define PIC_VECTOR 0x20
#define LINE_MAX 512
#define SAY_EVERY 9 /* ticks of the timer chip, which are 55 ms */

static const struct {
        uint32_t magic, flags, checksum;
} multiboot __attribute__((section(".multiboot"), used)) = { 0x1badb002, 0, -0x1badb002U };

typedef struct Gate {
        uint16_t low, selector, flags, high;
} Gate;

static Gate gates[PIC_VECTOR + 8];
static struct {
        uint16_t limit;
        uint32_t base;
} __attribute__((packed)) gates_register = { sizeof gates - 1, 0 };

static uint64_t wall_at_zero_ns; /* what the wall clock showed, or would have, when the HPET was 0 */
static volatile uint32_t ticks;
static char line[LINE_MAX];
static uint32_t line_length;

/* the stack, flat segments, then start(); the two interrupts that there are */
__asm__(".lcomm stack, 16384\n"
        ".globl _start, on_timer, on_agent\n"
        "_start: mov $stack + 16384, %esp\n"
        "        lgdt gdt_register\n"
        "        ljmp $8, $1f\n"
        "1:      mov $16, %ax\n"
        "        mov %ax, %ds\n"
        "        mov %ax, %es\n"
        "        mov %ax, %ss\n"
        "        call start\n"
        "on_timer: incl ticks\n"
        "on_agent: push %eax\n"
        "        mov $0x20, %al\n"
        "        outb %al, $0x20\n"
        "        pop %eax\n"
        "        iret\n"
        ".align 8\n"
        "gdt: .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff\n"
        "gdt_register: .word 23\n"
        "        .long gdt\n");

void start(void);
void on_timer(void);
void on_agent(void);

/* the machine */

static inline void out8(uint16_t port, uint8_t value) {
        __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port) {
        uint8_t value;

        __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
        return value;
}

static void set_gate(uint32_t vector, void (*handler)(void)) {
        uint32_t at = (uint32_t) (uintptr_t) handler;

        gates[vector] = (Gate){ (uint16_t) at, 8, 0x8e00, (uint16_t) (at >> 16) };
}

/* The timer chip ticks as the firmware has left it; its interrupt is 0, the second serial port's is 3. */
static void start_interrupts(void) {
        set_gate(PIC_VECTOR, on_timer);
        set_gate(PIC_VECTOR + 3, on_agent);
        gates_register.base = (uint32_t) (uintptr_t) gates;
        __asm__ volatile("lidt %0" ::"m"(gates_register));
        out8(0x20, 0x11);
        out8(0x21, PIC_VECTOR);
        out8(0x21, 4);
        out8(0x21, 1);
        out8(0x21, 0xff & ~(1 << 0 | 1 << 3));
        out8(0xa1, 0xff);
}

static void start_agent(void) {
        out8(AGENT + 3, 3);   /* 8N1 */
        out8(AGENT + 2, 7);   /* its FIFO, emptied */
        out8(AGENT + 4, 0xb); /* with interrupts */
        out8(AGENT + 1, 1);   /* one for what comes in */
}

/* clocks */

static uint32_t hpet(uint32_t offset) {
        return *(volatile uint32_t *) (uintptr_t) (HPET + offset);
}

static void start_hpet(void) {
        *(volatile uint32_t *) (uintptr_t) (HPET + 0x10) = 1;
}

static uint64_t up_ns(void) {
        uint32_t high, low;

        do {
                high = hpet(0xf4);
                low = hpet(0xf0);
        } while (high != hpet(0xf4));
        return ((uint64_t) high << 32 | low) * HPET_TICK_NS;
}

static uint64_t wall_ns(void) {
        return wall_at_zero_ns + up_ns();
}

static uint8_t cmos(uint8_t at) {
        out8(0x70, at);
        return in8(0x71);
}

static uint32_t cmos_number(uint8_t at) {
        uint8_t bcd = cmos(at);

        return (bcd >> 4) * 10U + (bcd & 15);
}

static uint32_t rtc_once(void) {
        while (cmos(10) & 0x80)
                ;
        return cmos_number(0) + 60 * cmos_number(2) + 3600 * cmos_number(4);
}

static uint32_t rtc_seconds(void) {
        uint32_t a, b = rtc_once();

        do {
                a = b;
                b = rtc_once();
        } while (a != b);
        return b;
}

/* the console */

static void say(const char *name, uint64_t value) {
        int i = 60;

        for (; *name; name++)
                out8(DEBUG_CONSOLE, (uint8_t) *name);
        while (i > 0 && !(value >> i))
                i -= 4;
        for (; i >= 0; i -= 4)
                out8(DEBUG_CONSOLE, (uint8_t) "0123456789abcdef"[(value >> i) & 15]);
}

static void say_clocks(void) {
        say("up=", up_ns() >> 10); /* no division of 64 bits here: units of 1.024 us */
        say(" wall=", wall_ns());
        say(" rtc=", rtc_seconds());
        out8(DEBUG_CONSOLE, '\n');
}

/* the agent */

static void put(const char *s) {
        for (; *s; s++) {
                while (!(in8(AGENT + 5) & 0x20))
                        ;
                out8(AGENT, (uint8_t) *s);
        }
}

/* By long division: without a C library there is none of 64 bits. */
static uint64_t divide_by_ten(uint64_t n, uint32_t *ret_rest) {
        uint64_t quotient = 0;
        uint32_t rest = 0;

        for (int i = 63; i >= 0; i--) {
                rest = rest << 1 | (uint32_t) (n >> i & 1);
                if (rest >= 10) {
                        rest -= 10;
                        quotient |= 1ULL << i;
                }
        }
        *ret_rest = rest;
        return quotient;
}

static void put_number(uint64_t n) {
        char text[24];
        uint32_t at = sizeof text - 1, rest;

        text[at] = 0;
        do {
                n = divide_by_ten(n, &rest);
                text[--at] = (char) ('0' + rest);
        } while (n > 0);
        put(text + at);
}

/* What follows @name in the line; NULL if it is not there. */
static const char *after(const char *name) {
        for (const char *at = line; *at; at++) {
                const char *a = at, *b = name;

                while (*b && *a == *b) {
                        a++;
                        b++;
                }
                if (!*b)
                        return a;
        }
        return NULL;
}

static uint64_t number_after(const char *name) {
        const char *at = after(name);
        uint64_t n = 0;

        while (at && (*at == ' ' || *at == ':'))
                at++;
        for (; at && *at >= '0' && *at <= '9'; at++)
                n = n * 10 + (uint64_t) (*at - '0');
        return n;
}

static void answer_number(uint64_t n) {
        put("{\"return\": ");
        put_number(n);
        put("}\n");
}

static void answer_line(void) {
        if (after("\"guest-sync-delimited\"")) {
                put("\xff");
                answer_number(number_after("\"id\""));
        } else if (after("\"guest-info\""))
                put("{\"return\": {\"version\": \"0\", \"supported_commands\": ["
                    "{\"name\": \"guest-get-time\", \"enabled\": true, \"success-response\": true}, "
                    "{\"name\": \"guest-set-time\", \"enabled\": true, \"success-response\": true}]}}\n");
        else if (after("\"guest-get-time\""))
                answer_number(wall_ns());
        else if (after("\"guest-set-time\"")) {
                wall_at_zero_ns = number_after("\"time\"") - up_ns();
                put("{\"return\": {}}\n");
        } else if (after("\"execute\""))
                put("{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"there is none\"}}\n");
}

/* Where there is no such port, all that is read is ones. */
static bool has_input(void) {
        uint8_t status = in8(AGENT + 5);

        return status != 0xff && (status & 1);
}

static void read_agent(void) {
        while (has_input()) {
                char c = (char) in8(AGENT);

                if (c == '\n') {
                        line[line_length] = 0;
                        line_length = 0;
                        answer_line();
                } else if (line_length < LINE_MAX - 1)
                        line[line_length++] = c;
        }
}

/* An interrupt between the last look and the halt would be missed, were it not for sti's one instruction. */
void start(void) {
        uint32_t said = 0;

        start_hpet();
        start_agent();
        start_interrupts();
        for (;;) {
                __asm__ volatile("sti\n\thlt\n\tcli" ::: "memory");
                read_agent();
                if (ticks - said < SAY_EVERY)
                        continue;
                said = ticks;
                say_clocks();
        }
}
