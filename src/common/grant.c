/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/grant.h"
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define NAME "system.posix_acl_access"
#define READ_WRITE (ACL_READ | ACL_WRITE)

/* As acl(5) has it in an extended attribute: in this order. */
typedef struct Acl {
        struct posix_acl_xattr_header header;
        struct posix_acl_xattr_entry entries[5];
} Acl;

_Static_assert(sizeof(Acl) == 4 + 5 * 8, "as the kernel reads it");

static struct posix_acl_xattr_entry entry(uint16_t tag, uint16_t permissions, uint32_t id) {
        return (struct posix_acl_xattr_entry){ .e_tag = htole16(tag),
                                               .e_perm = htole16(permissions),
                                               .e_id = htole32(id) };
}

static Acl acl_for(uid_t user) {
        uint32_t nobody = (uint32_t) ACL_UNDEFINED_ID;

        return (Acl){ .header = { .a_version = htole32(POSIX_ACL_XATTR_VERSION) },
                      .entries = { entry(ACL_USER_OBJ, READ_WRITE, nobody),
                                   entry(ACL_USER, READ_WRITE, user),
                                   entry(ACL_GROUP_OBJ, 0, nobody),
                                   entry(ACL_MASK, READ_WRITE, nobody),
                                   entry(ACL_OTHER, 0, nobody) } };
}

int grant_path(const char *path, uid_t user) {
        Acl acl = acl_for(user);

        return lsetxattr(path, NAME, &acl, sizeof(acl), 0) < 0 ? -errno : 0;
}

int grant_fd(int fd, uid_t user) {
        Acl acl = acl_for(user);

        return fsetxattr(fd, NAME, &acl, sizeof(acl), 0) < 0 ? -errno : 0;
}

/* More than what is written here is somebody else's. */
int grant_holder(int fd, uid_t *ret) {
        ssize_t size;
        Acl acl;

        size = fgetxattr(fd, NAME, &acl, sizeof(acl));
        if (size < 0)
                return errno == ERANGE ? -ENODATA : -errno;
        if (size != sizeof(acl) || le16toh(acl.entries[1].e_tag) != ACL_USER)
                return -ENODATA;
        *ret = le32toh(acl.entries[1].e_id);
        return 0;
}
